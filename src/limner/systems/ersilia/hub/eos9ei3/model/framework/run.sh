python $1/code/eos9ei3.py $2 $3
