/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#ifndef STAPLE_JSON_H
#define STAPLE_JSON_H

/*
 * A writer of JSON (RFC 8259): members go in, bytes come out, and the commas
 * are its concern. What it writes is printable ASCII whatever a string holds,
 * so that neither a parser nor a terminal can be fooled.
 *
 * It allocates nothing and keeps nothing but its place. One thread.
 */

#include <apr.h>
#include <apr_tables.h>
#include <apr_time.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Where the bytes go. @param baton what staple_json_start was given */
typedef void (*staple_json_write_fn)(void *baton, const char *bytes,
                                     apr_size_t len);

/** A document that is being written; the fields are the writer's own. */
typedef struct staple_json_t {
    staple_json_write_fn write;
    void *baton;
    int depth;    /* objects and arrays that are open */
    int is_first; /* nothing stands in the innermost one yet */
} staple_json_t;

/** Begin a document. */
void staple_json_start(staple_json_t *json, staple_json_write_fn write,
                       void *baton);

/**
 * Open an object or an array.
 * @param key its name in the object around it; NULL in an array, and for the
 *        document itself
 * @param bracket '{' or '['
 */
void staple_json_open(staple_json_t *json, const char *key, char bracket);

/** Close it again. @param bracket '}' or ']' */
void staple_json_close(staple_json_t *json, char bracket);

/**
 * A string, or null where text is NULL. Bytes beyond ASCII are taken for
 * UTF-8; those that are none stand as U+FFFD.
 */
void staple_json_string(staple_json_t *json, const char *key,
                        const char *text);

/** The same, and null where text is empty as well. */
void staple_json_words(staple_json_t *json, const char *key,
                       const char *text);

/** An array of strings. @param texts const char * */
void staple_json_strings(staple_json_t *json, const char *key,
                         const apr_array_header_t *texts);

/** An integer. */
void staple_json_number(staple_json_t *json, const char *key,
                        apr_int64_t number);

/** true or false. */
void staple_json_truth(staple_json_t *json, const char *key, int is_true);

/** A moment, "2026-01-31T12:00:00Z"; null where it is 0. */
void staple_json_moment(staple_json_t *json, const char *key, apr_time_t t);

/** A span in seconds, with three decimals; null where it is negative. */
void staple_json_span(staple_json_t *json, const char *key,
                      apr_interval_time_t span);

#ifdef __cplusplus
}
#endif

#endif /* STAPLE_JSON_H */
