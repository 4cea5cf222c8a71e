/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#ifndef STAPLE_RULES_H
#define STAPLE_RULES_H

/*
 * The rules of the refresh as values: when to ask again, when to try again,
 * what replaces what, what may be served. Pure: no clock, no log, no I/O;
 * moments are parameters, so that a test can run through a year at once.
 * docs/schedule.md explains the rules with worked numbers.
 */

#include <apr_time.h>

#include "staple_cache.h"
#include "staple_cert.h"
#include "staple_fetch.h"
#include "staple_ocsp.h"

#ifdef __cplusplus
extern "C" {
#endif

/** SSLStaplingResponseTimeSkew where it is not set. */
#define STAPLE_RULES_SKEW apr_time_from_sec(300)

/** For how long a response without nextUpdate (RFC 6960 4.2.2.1) is served
 * where SSLStaplingResponseMaxAge is not set. */
#define STAPLE_RULES_DEFAULT_AGE apr_time_from_sec(12 * 3600)

/** StapleMaxAge where it is not set: browsers refuse a staple that is older,
 * whatever its nextUpdate says (Firefox's mozilla::pkix). */
#define STAPLE_RULES_STAPLE_AGE apr_time_from_sec(864000)

/** StapleRevokedRecheck where it is not set. */
#define STAPLE_RULES_RECHECK apr_time_from_sec(3600)

/** Set in staple_cache_meta_t.flags: the response is a responder's error, kept
 * because SSLStaplingReturnResponderErrors asks for it; next_update is when it
 * stops being served. */
#define STAPLE_RULES_IS_ERROR 1u

/** The same: it is no response but the certificate of an issuer that was
 * fetched, under the id of staple_cert_issuer_id. */
#define STAPLE_RULES_IS_ISSUER 2u

/**
 * When a response that was just obtained is due to be asked for anew: at the
 * middle of its validity, up to a tenth of the validity earlier or later
 * (fixed for a certificate, so a fleet spreads and a test repeats). One that
 * was signed ahead, so was old already, no sooner than that age after the
 * middle, and an eighth of the validity after it at the latest. Sooner where
 * SSLStaplingStandardCacheTimeout or the responder's own max-age says so.
 * Where that moment has passed already, an eighth after the middle, then at
 * half of what is left, and if it can be, not in the last tenth. Never at
 * once. What is valid for longer than StapleMaxAge (10 days, where that is off)
 * is planned as if it ended then; and where it is not renewed in time, it is
 * asked for again after an hour, and then after as long as it is overdue, a day
 * at most. One that says revoked, StapleRevokedRecheck after it was obtained at
 * the latest.
 * @param id STAPLE_ID_LEN bytes, from which the spread is taken
 * @param meta of the response: its times, when it was obtained, its status
 * @param fresh_for what Cache-Control or Expires says; 0 or -1: nothing
 */
apr_time_t staple_rules_due(const staple_cert_policy_t *policy,
                            const unsigned char *id,
                            const staple_cache_meta_t *meta,
                            apr_interval_time_t fresh_for);

/**
 * How long to wait after a failure: from 5 s, doubled each time, up to
 * SSLStaplingErrorCacheTimeout, spread by a fifth; shorter as the response
 * that is held nears its end; longer, within bounds, where the responder
 * asked for it, and then spread to the later side only.
 * @param failing failures in a row, this one included: 1 or more
 * @param remaining for how long the held response may be served; 0: none held
 * @param retry_after from Retry-After, -1: nothing
 */
apr_interval_time_t staple_rules_backoff(const staple_cert_policy_t *policy,
                                         const unsigned char *id,
                                         apr_uint32_t failing,
                                         apr_interval_time_t remaining,
                                         apr_interval_time_t retry_after);

/**
 * Whether a response may be believed, wherever it came from: it is true, about
 * this certificate and current, and it says good or revoked. Who stores, shows
 * or promises a response asks this; until when it may be served is what
 * staple_rules_until says.
 * @param cert with a subject
 * @param verdict filled in, whatever is returned
 */
int staple_rules_is_believed(const staple_cert_t *cert,
                             const unsigned char *der, apr_size_t len,
                             apr_time_t now, staple_ocsp_verdict_t *verdict);

/**
 * What may bring a better answer than one that is not believed. An OCSP error
 * is the responder's own word, which no other request changes, but for
 * malformedRequest (RFC 6960 4.2.1): that may be about the method. One that has
 * expired may come from a cache (RFC 9919). OK: the certificate is unknown to
 * it.
 */
staple_fetch_judgement_e staple_rules_judgement(staple_ocsp_reason_e reason);

/** Until when a believed response may be served, by the policy of today. */
apr_time_t staple_rules_until(const staple_cert_policy_t *policy,
                              const staple_ocsp_verdict_t *verdict);

/**
 * How long after a probe of a responder that does not answer the next one is
 * sent, while a certificate has nothing valid to staple: 3 s in the first
 * minute, 5 s in the first ten, 30 s after that.
 * @param outage for how long it has been waited for
 */
apr_interval_time_t staple_rules_probe_interval(apr_interval_time_t outage);

/** What is kept beside a believed response that is obtained now. */
staple_cache_meta_t staple_rules_meta(const staple_ocsp_verdict_t *verdict,
                                      apr_time_t now);

/**
 * Whether a verified response should take the place of the held one: it is
 * newer (thisUpdate), or as new and either revokes or is served longer, or
 * the same in all that and smaller, or what is held is an error or has ended.
 * The held status is a staple_ocsp_status_e.
 * @param is_smaller whether it has fewer bytes than the held one: each
 *        handshake sends them, and OpenSSL from 3.6 on decodes them there
 */
int staple_rules_is_better(const staple_cert_policy_t *policy,
                           const staple_cache_meta_t *held,
                           const staple_ocsp_verdict_t *verdict,
                           int is_smaller, apr_time_t now);

/**
 * Whether a response grows too old, although it is valid for longer: nothing
 * newer was given out when it was due to be renewed, by 5/8 of StapleMaxAge.
 */
int staple_rules_is_overdue(const staple_cert_policy_t *policy,
                            const staple_ocsp_verdict_t *verdict,
                            apr_time_t now);

/** Until when a kept response may be served, by the policy of today: to its
 * end, or to StapleMaxAge where that is sooner and the certificate is not
 * must-staple. */
apr_time_t staple_rules_serve_until(const staple_cert_policy_t *policy,
                                    const staple_cache_meta_t *meta);

/** Whether less than a tenth of a kept response's validity is left. */
int staple_rules_is_urgent(const staple_cert_policy_t *policy,
                           const staple_cache_meta_t *meta, apr_time_t now);

/** Whether a kept response may be served at this moment. */
int staple_rules_may_serve(const staple_cert_policy_t *policy,
                           const staple_cache_meta_t *meta, apr_time_t now);

/** Whether a kept response is not served for its age alone: it is valid, and
 * older than StapleMaxAge. */
int staple_rules_is_too_old(const staple_cert_policy_t *policy,
                            const staple_cache_meta_t *meta, apr_time_t now);

#ifdef __cplusplus
}
#endif

#endif /* STAPLE_RULES_H */
