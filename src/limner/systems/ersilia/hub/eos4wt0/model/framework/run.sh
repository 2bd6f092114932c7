python $1/code/eos4wt0.py $2 $3
