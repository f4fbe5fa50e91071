/*
 * What a process has done: each worker counts for itself, who wants to know adds up.
 */
#ifndef CGI_COUNTERS_H
#define CGI_COUNTERS_H

#include <stdint.h>

/* Statuses are counted one by one from 100 to 599. */
enum { COUNTERS_FIRST_STATUS = 100, COUNTERS_STATUSES = 500 };

struct counters_sum {
    uint64_t by_status[COUNTERS_STATUSES]; /* requests answered, by status less COUNTERS_FIRST_STATUS */
    uint64_t requests;                     /* all of them */
    uint64_t errors;                       /* those with a status from 500 */
    int busy;                              /* workers that are in a handler now */
    double longest_s;                      /* for how long the first of these has been, in seconds */
};

/*
 * The calling thread is a worker, and counts from now on. At most 256 in a process; what a thread counts that has
 * not said so is forgotten, and so is what the 257th counts.
 */
void counters_join(void);

/* A handler begins. */
void counters_begin(void);

/* It has answered with `status`. */
void counters_end(int status);

/* Add up what all workers have counted so far. For any thread, at any time. */
void counters_add_up(struct counters_sum *sum);

#endif
