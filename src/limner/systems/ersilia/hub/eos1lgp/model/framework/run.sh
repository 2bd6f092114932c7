python $1/code/eos1lgp.py $2 $3
