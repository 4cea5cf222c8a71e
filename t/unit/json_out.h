/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#ifndef STAPLE_T_JSON_OUT_H
#define STAPLE_T_JSON_OUT_H

/*
 * What a writer of JSON has written, as a string. One document at a time.
 */

#include <string.h>

#include "staple_json.h"

static char out[65536];
static apr_size_t out_len;

static void keep(void *baton, const char *bytes, apr_size_t len)
{
    (void)baton;
    if (out_len + len < sizeof(out)) {
        memcpy(out + out_len, bytes, len);
        out_len += len;
    }
    out[out_len] = '\0';
}

/** Begin a document. */
static inline void start(staple_json_t *json)
{
    out_len = 0;
    out[0] = '\0';
    staple_json_start(json, keep, NULL);
}

#endif /* STAPLE_T_JSON_OUT_H */
