python $1/code/eos8a4x.py $2 $3
