/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#ifndef STAPLE_REFRESH_DUE_H
#define STAPLE_REFRESH_DUE_H

/*
 * When each of many things is due: a heap of moments. Things are numbers from
 * 0 on, each of which is there once or not at all. To see that nothing is due
 * costs the same for ten things and for a hundred thousand; to enter, move or
 * take one costs some steps more each time that their number doubles.
 *
 * It asks no clock, and allocates nothing once it is made. One thread.
 */

#include <apr_pools.h>
#include <apr_time.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct staple_due_t staple_due_t;

/** A heap for the numbers below count, none of which is there; lives in p. */
staple_due_t *staple_due_make(apr_size_t count, apr_pool_t *p);

/** Number is due at a moment; if it was due at another one, no longer then. */
void staple_due_set(staple_due_t *due, apr_size_t number, apr_time_t when);

/** Number is due no more; nothing happens where it was not. */
void staple_due_clear(staple_due_t *due, apr_size_t number);

/**
 * Take out the number that is due first, if that is not later than now; of two
 * that are due at the same moment, either.
 * @return whether there was one
 */
int staple_due_take(staple_due_t *due, apr_time_t now, apr_size_t *number);

/** How many are there. */
apr_size_t staple_due_count(const staple_due_t *due);

#ifdef __cplusplus
}
#endif

#endif /* STAPLE_REFRESH_DUE_H */
