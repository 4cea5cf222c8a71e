/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#ifndef STAPLE_DENY_H
#define STAPLE_DENY_H

/*
 * Where the URI of a certificate may not lead, as a value: what is refused
 * without a word of the administrator, and StapleDenyResponder. Pure: no
 * socket, no name server, no clock.
 *
 * A list is filled while the configuration is read, and read-only from then
 * on, so any thread may ask it.
 */

#include <apr_pools.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct staple_deny_t staple_deny_t;

/**
 * A list that refuses what can never be the responder of a CA: link-local,
 * multicast, broadcast and unspecified addresses, those of the clouds' metadata
 * services, and ports of other protocols. It lives in p.
 */
staple_deny_t *staple_deny_make(apr_pool_t *p);

/**
 * Add what one word of the directive means: "loopback", "private",
 * "link-local", an address, or a network as address/bits; IPv4 or IPv6. "none"
 * stands alone, and empties the list.
 * @return NULL, or what is wrong with the word and what is accepted: an
 *         explanation that follows the word itself, allocated from ptemp
 */
const char *staple_deny_add(staple_deny_t *deny, const char *word,
                            apr_pool_t *ptemp);

/** What SSLStaplingForceURL names is refused by the directive only.
 * @param host, port as in staple_url_t; copied */
void staple_deny_trust(staple_deny_t *deny, const char *host,
                       apr_uint16_t port);

/**
 * Why an address may not be asked. An IPv6 address that carries an IPv4 address
 * (mapped, compatible, translated, NAT64, 6to4, Teredo) is judged as both. In
 * the shape of staple_fetch_conf_t.refusal.
 * @param deny a staple_deny_t
 * @param host what the URL names: a name or an address
 * @param address one of its addresses, as text
 * @return NULL, or a phrase that follows the address and says how it can be
 *         allowed; constant
 */
const char *staple_deny_refusal(const void *deny, const char *host,
                                const char *address, apr_uint16_t port);

/** The same for a program that reads no directives: why, but not how it can be
 * allowed. */
const char *staple_deny_reason(const void *deny, const char *host,
                               const char *address, apr_uint16_t port);

#ifdef __cplusplus
}
#endif

#endif /* STAPLE_DENY_H */
