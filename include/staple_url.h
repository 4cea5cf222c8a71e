/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#ifndef STAPLE_URL_H
#define STAPLE_URL_H

/*
 * A URL as a value: taken apart, normalised, joined with a reference, made
 * into the one that is asked with GET. Pure: no name is resolved, nothing is
 * asked.
 *
 * URLs come out of certificates that customers upload, and out of answers of
 * whoever is there: nothing is repaired that RFC 3986 does not tell a recipient
 * to repair, but what is wrong is told. Any thread may call any function.
 */

#include <apr_pools.h>

#ifdef __cplusplus
extern "C" {
#endif

/** The longest URL that is looked at, in bytes. */
#define STAPLE_URL_MAX 2048

/** The longest URL that is asked with GET (RFC 9919 section 6), in bytes. */
#define STAPLE_URL_GET_MAX 255

/** Why a URL cannot be asked. */
typedef enum {
    STAPLE_URL_OK = 0,
    STAPLE_URL_TOO_LONG,   /* more than STAPLE_URL_MAX bytes */
    STAPLE_URL_BAD_BYTE,   /* a byte that no URL has, or a lone '%' */
    STAPLE_URL_BAD_SCHEME, /* not http */
    STAPLE_URL_BAD_HOST,   /* no host, or neither a name nor an address */
    STAPLE_URL_BAD_PORT    /* not a number from 1 to 65535 */
} staple_url_e;

/** A reason as words that finish "the URL ...", for an administrator. */
const char *staple_url_text(staple_url_e reason);

/**
 * An http URL (RFC 9110 4.2.1), normalised: scheme and host in lower case, no
 * userinfo, no fragment, no dot segments, a path that begins with '/'. All
 * strings are printable ASCII without a space, so they may reach a request or
 * a log. Never changed once made.
 */
typedef struct staple_url_t {
    const char *host;      /* a name or an address, IPv6 without brackets */
    const char *authority; /* as Host has it: brackets, port unless 80 */
    const char *path;      /* without the query */
    const char *query;     /* without the '?'; NULL: none */
    const char *text;      /* the whole URL */
    apr_uint16_t port;
    int is_address;        /* whether host is an IP address */
} staple_url_t;

/**
 * Take a URL apart, strictly.
 * @param url, untouched unless URL_OK is returned; strings live in p
 * @return URL_OK, or why the URL cannot be asked
 */
staple_url_e staple_url_parse(staple_url_t *url,
                              const char *text, apr_pool_t *p);

/**
 * The URL that a reference (Location) means, seen from base (RFC 3986 5.2).
 * @return as staple_url_parse
 */
staple_url_e staple_url_resolve(staple_url_t *url,
                                const staple_url_t *base,
                                const char *reference,
                                apr_pool_t *p);

/**
 * The URL for asking with GET: base64 of the DER, percent-encoded, as a last
 * segment of the path (RFC 6960 A.1); a query is kept behind it.
 * @return whether that is at most STAPLE_URL_GET_MAX bytes; if not, url is
 *         untouched and POST is to be used
 */
int staple_url_for_get(staple_url_t *url,
                       const staple_url_t *responder,
                       const unsigned char *der, apr_size_t len,
                       apr_pool_t *p);

/** Path and query of a URL, as they are asked for (RFC 9112 3.2.1). */
const char *staple_url_target(const staple_url_t *url);

#ifdef __cplusplus
}
#endif

#endif /* STAPLE_URL_H */
