# MiB/s of message by its size, a line for each peer. data, blocks, out: from report.py
set terminal svg size 800,480 font "sans-serif,13" background "white"
set output out
set title "MiB of message a second by its size, ASCII, 32 connections"
set logscale xy
set xtics ("16 B" 16, "1 KiB" 1024, "64 KiB" 65536, "1 MiB" 1048576)
set xrange [8:2097152]
set grid
set key left top
plot for [i = 0:blocks - 1] data index i using 1:($1 * $2 / 1048576) with linespoints linewidth 2 \
     title columnheader(1)
