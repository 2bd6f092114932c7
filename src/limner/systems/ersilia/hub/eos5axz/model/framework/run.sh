python $1/code/eos5axz.py $2 $3
