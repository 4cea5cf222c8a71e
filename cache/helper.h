/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#ifndef STAPLE_CACHE_HELPER_H
#define STAPLE_CACHE_HELPER_H

/*
 * The process that makes the ring's file for the parent, and the way that the
 * file's descriptor takes from there to the process that copies. Of the room
 * of the ring.
 */

#include "staple_cache.h"

#ifdef __cplusplus
extern "C" {
#endif

/** What is to be made. */
typedef struct staple_cache_order_t {
    const char *path;
    const void *bytes;     /* what the file is to have */
    apr_size_t size;
    const char *broken;    /* NULL, or why what was found there is to be set
                              aside, to finish "the file ..." */
    int is_start;          /* remove what a killed start has left */
    staple_cache_kept_t *before; /* the generation before, whose lock is no
                              other's; NULL: there is none. Its descriptor is
                              taken from it */
    void (*on_fork)(void); /* called in the helper; or NULL */
} staple_cache_order_t;

#define STAPLE_CACHE_ANSWER_LEN 1024

/** What became of it; a reason that is too long is cut. */
typedef struct staple_cache_answer_t {
    char found[STAPLE_CACHE_ANSWER_LEN];   /* "", or why what was there is not
                              used, and where it is now: "is empty; it was
                              renamed to PATH.bad" */
    int is_aside;                          /* whether that was renamed */
    char failure[STAPLE_CACHE_ANSWER_LEN]; /* "": there is a new file */
} staple_cache_answer_t;

/**
 * Make what the descriptor is handed over through. In the parent, before the
 * first helper of a generation.
 */
apr_status_t staple_cache_open_channel(staple_cache_kept_t *kept);

/**
 * Have a helper make the file. In the parent, which touches no file for it.
 * @param kept has a channel, and no helper at work
 * @return APR_SUCCESS, or why there is no helper
 */
apr_status_t staple_cache_start_helper(staple_cache_kept_t *kept,
                                       const staple_cache_order_t *order);

/**
 * What the helper has to say, and its end. In the parent.
 * @return false: nothing yet, after `patience`
 */
int staple_cache_hear_helper(staple_cache_kept_t *kept,
                             apr_interval_time_t patience,
                             staple_cache_answer_t *answer);

/** End a helper from which nothing is wanted any more, within a tenth of a
 * second or not at all. In the parent. */
void staple_cache_drop_helper(staple_cache_kept_t *kept);

/** Do the same as a helper, in this process. */
void staple_cache_help(staple_cache_kept_t *kept,
                       const staple_cache_order_t *order,
                       staple_cache_answer_t *answer);

/**
 * Look whether the channel has another file.
 * @param edition which file the caller has; 0: none. Changed with it
 * @return the descriptor of another one, which is the caller's; -1: there is
 *         none
 */
int staple_cache_look_for_file(const staple_cache_kept_t *kept,
                               apr_int64_t *edition);

#ifdef __cplusplus
}
#endif

#endif /* STAPLE_CACHE_HELPER_H */
