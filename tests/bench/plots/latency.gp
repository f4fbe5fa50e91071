# p99 by offered load, a line for each peer. data, blocks, out: from report.py
set terminal svg size 800,480 font "sans-serif,13" background "white"
set output out
set title "p99 in ms at equal offered load, open loop"
set logscale y
set xlabel "offered load, percent of the system's capacity"
set xrange [0:80]
set grid
set key left top
plot for [i = 0:blocks - 1] data index i using 1:2 with linespoints linewidth 2 title columnheader(1)
