/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#ifndef STAPLE_FETCH_DNS_H
#define STAPLE_FETCH_DNS_H

/*
 * Names become addresses, without anybody waiting: each look-up is a
 * getaddrinfo on a thread of its own, which wakes the engine's pollset when it
 * is done. Used by the fetch engine, in its thread.
 */

#include <arpa/inet.h>

#include <apr_errno.h>
#include <apr_poll.h>

#ifdef __cplusplus
extern "C" {
#endif

/** How many addresses of a name are tried. */
#define STAPLE_FETCH_ENDPOINTS_MAX 8

/** One address of a host, as text; never IPv4 mapped into IPv6. */
typedef struct staple_fetch_endpoint_t {
    int family; /* AF_INET or AF_INET6 */
    char ip[INET6_ADDRSTRLEN];
} staple_fetch_endpoint_t;

/** Whose name is looked up (fetch/queue.h). */
typedef struct site_t site_t;

/** What a look-up found. */
typedef struct staple_fetch_lookup_t {
    site_t *site; /* as given to staple_fetch_dns_start */
    int error;   /* of getaddrinfo; 0: none */
    int count;   /* of endpoints; 0: the name has no address, or an error */
    staple_fetch_endpoint_t endpoints[STAPLE_FETCH_ENDPOINTS_MAX]; /* with the
                    families taking turns (RFC 8305 section 4) */
} staple_fetch_lookup_t;

typedef struct staple_fetch_dns_t staple_fetch_dns_t;

/**
 * @param pollset woken from the threads; has to live until _destroy
 * @return a resolver from malloc, for staple_fetch_dns_destroy; NULL: no
 *         memory. The process that asked for it should end then: the system's
 *         resolver may be unusable in it
 */
staple_fetch_dns_t *staple_fetch_dns_create(apr_pollset_t *pollset);

/**
 * Begin to look up a name, which is copied.
 * @return APR_SUCCESS; APR_EAGAIN while too many are under way; APR_ENOMEM if
 *         there is no thread to be had
 */
apr_status_t staple_fetch_dns_start(staple_fetch_dns_t *dns, const char *host,
                                    site_t *site);

/** Fetch one result; whether there was one. */
int staple_fetch_dns_take(staple_fetch_dns_t *dns,
                          staple_fetch_lookup_t *lookup);

/**
 * Give the resolver back. Look-ups under way are not waited for: their threads
 * end by themselves, and touch nothing of the caller's.
 */
void staple_fetch_dns_destroy(staple_fetch_dns_t *dns);

/**
 * An address as endpoint, without asking anybody.
 * @return whether host is an address
 */
int staple_fetch_dns_parse(staple_fetch_endpoint_t *endpoint,
                           const char *host);

#ifdef __cplusplus
}
#endif

#endif /* STAPLE_FETCH_DNS_H */
