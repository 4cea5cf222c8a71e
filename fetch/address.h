/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#ifndef STAPLE_FETCH_ADDRESS_H
#define STAPLE_FETCH_ADDRESS_H

/*
 * The addresses of a site, and what is remembered of each: which one answered
 * last, and which ones have failed since. Values only: no name is resolved and
 * nothing is connected to. Used in the engine's thread.
 */

#include <apr_time.h>

#include "dns.h"

#ifdef __cplusplus
extern "C" {
#endif

/** An address that has failed, and has not answered since. */
typedef struct staple_fetch_failed_t {
    char ip[INET6_ADDRSTRLEN]; /* "": the place is free */
    apr_time_t at;
} staple_fetch_failed_t;

/** Zero it first. */
typedef struct addresses_t {
    staple_fetch_endpoint_t known[STAPLE_FETCH_ENDPOINTS_MAX]; /* in the order
                                of RFC 8305 */
    int count;               /* of known */
    char preferred[INET6_ADDRSTRLEN]; /* that answered last; "": none */
    staple_fetch_failed_t failed[STAPLE_FETCH_ENDPOINTS_MAX]; /* these outlive
                                a look-up, which may bring them again */
} addresses_t;

/** Forget what a name was resolved to; not what was learned of it. */
void staple_fetch_address_clear(addresses_t *addresses);

/** Add one that a name was resolved to; what has no room is left out. */
void staple_fetch_address_add(addresses_t *addresses,
                              const staple_fetch_endpoint_t *endpoint);

/**
 * The addresses in the order in which they are to be asked: the one that
 * answered last, those of which nothing bad is known, and then those that have
 * failed, the one that failed longest ago first.
 * @param ordered room for STAPLE_FETCH_ENDPOINTS_MAX
 * @return how many of them, counted from the first, have not failed
 */
int staple_fetch_address_order(const addresses_t *addresses,
                               staple_fetch_endpoint_t *ordered);

/** It has answered: from now on it is the first, and has not failed. */
void staple_fetch_address_note_answer(addresses_t *addresses,
                                      const char *ip);

/** It has failed: it is preferred no longer, and comes after all others. */
void staple_fetch_address_note_failure(addresses_t *addresses,
                                       const char *ip, apr_time_t now);

#ifdef __cplusplus
}
#endif

#endif /* STAPLE_FETCH_ADDRESS_H */
