python $1/code/eos7jio.py $2 $3
