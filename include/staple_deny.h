/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#ifndef STAPLE_DENY_H
#define STAPLE_DENY_H

/*
 * StapleDenyResponder as a value: a list of networks, and whether an address
 * lies in one of them. Pure: no socket, no name server, no clock.
 *
 * A list is filled while the configuration is read, and read-only from then
 * on, so any thread may ask it.
 */

#include <apr_pools.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct staple_deny_t staple_deny_t;

/** An empty list, which denies nothing; it lives in p. */
staple_deny_t *staple_deny_make(apr_pool_t *p);

/**
 * Add what one word of the directive means: "loopback", "private",
 * "link-local", an address, or a network as address/bits; IPv4 or IPv6.
 * @return NULL, or what is wrong with the word and what is accepted: an
 *         explanation that follows the word itself, allocated from ptemp
 */
const char *staple_deny_add(staple_deny_t *deny, const char *word,
                            apr_pool_t *ptemp);

/**
 * Whether an address, as text, is denied. IPv4 inside of IPv6 (mapped, RFC
 * 4291 2.5.5.2, or behind the well-known prefix of NAT64, RFC 6052) is judged
 * as what it is too. What is not an address is denied.
 */
int staple_deny_matches(const staple_deny_t *deny,
                        const char *address);

/**
 * The same in the shape of staple_fetch_conf_t.is_allowed.
 * @param deny a staple_deny_t; NULL: everything is allowed
 */
int staple_deny_allows(void *deny, const char *address,
                       apr_uint16_t port);

#ifdef __cplusplus
}
#endif

#endif /* STAPLE_DENY_H */
