/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#ifndef STAPLE_IDN_H
#define STAPLE_IDN_H

/*
 * International host names, for people. Pure; any thread.
 */

#include <apr_pools.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * A host name as people write it, in UTF-8: each label that begins with "xn--"
 * decoded (RFC 3492). A label that is badly encoded, or that has anything but
 * letters, digits and visible marks in it, stays as it is, so nothing invisible
 * comes out. Letters that are written from right to left do: a page has to keep
 * them apart from what stands beside them (<bdi>).
 * @return name itself where nothing was decoded
 */
const char *staple_idn_text(const char *name, apr_pool_t *p);

#ifdef __cplusplus
}
#endif

#endif /* STAPLE_IDN_H */
