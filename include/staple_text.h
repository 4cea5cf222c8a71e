/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#ifndef STAPLE_TEXT_H
#define STAPLE_TEXT_H

/*
 * Bytes of anybody as text that may reach a log, a terminal or a page. Pure;
 * any thread may call any function, and what is returned lives in p.
 */

#include <apr_pools.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Printable ASCII: every other byte becomes \xHH, but a tab becomes a space. A
 * backslash stays as it is, since names (RFC 4514) and directives have some of
 * their own; so the text is to be read, and cannot be turned back.
 * @param max what lies behind that many bytes of text becomes "..."
 */
const char *staple_text_printable(const char *text, apr_size_t len,
                                  apr_size_t max, apr_pool_t *p);

/** The same for a string, of whatever length. */
const char *staple_text_string(const char *text, apr_pool_t *p);

/**
 * A name or a URL as it is logged: printable ASCII without a quote or a
 * backslash, so that it cannot end a string in a log that is written as JSON.
 * Every other byte becomes %HH, a tab a space.
 * @param max as above
 */
const char *staple_text_name(const char *text, apr_size_t len, apr_size_t max,
                             apr_pool_t *p);

/** "0AFF" */
const char *staple_text_hex(const unsigned char *bytes, apr_size_t len,
                            apr_pool_t *p);

/** "0A:FF", as fingerprints are written. */
const char *staple_text_fingerprint(const unsigned char *bytes, apr_size_t len,
                                    apr_pool_t *p);

/** What APR says of an error. */
const char *staple_text_error(apr_status_t rv, apr_pool_t *p);

/** "s" behind a noun that is counted, or "". */
const char *staple_text_plural(apr_int64_t count);

#ifdef __cplusplus
}
#endif

#endif /* STAPLE_TEXT_H */
