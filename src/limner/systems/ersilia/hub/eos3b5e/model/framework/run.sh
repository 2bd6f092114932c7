python $1/code/eos3b5e.py $2 $3
