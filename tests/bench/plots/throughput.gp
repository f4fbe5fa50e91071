# Bars of requests/s, with the least and the most of the rounds. data, out: from report.py
set terminal svg size 800,420 font "sans-serif,13" background "white"
set output out
set title "requests/s, 32 connections, 32-byte message (median; least to most)"
set style fill solid 0.7
set boxwidth 0.6
set yrange [0:*]
set grid ytics
set format y "%.0f"
unset key
plot data using 0:2:xticlabels(1) with boxes linecolor rgb "#4878a8", \
     data using 0:2:3:4 with yerrorbars linecolor rgb "#202020" pointtype 0
