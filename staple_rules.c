/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The rules of the refresh: arithmetic on moments and spans, and nothing
 * else. The half of the refresh that does things is staple_refresh.c.
 *
 * The one idea: all margins are parts of a response's own validity, so that
 * a response of ten minutes is treated as well as one of ten days.
 */

#include "staple_rules.h"

#define SECONDS(n) apr_time_from_sec((apr_interval_time_t)(n))

/* The first pause after a failure, and the shortest between two questions
 * about a response that is valid for long. */
#define GAP_MIN SECONDS(5)

/* "Newer information is always available" (RFC 6960 4.2.2.1): without
 * nextUpdate we look this often. */
#define NO_NEXT_UPDATE_AGE SECONDS(3600)

/* By the middle of a response's validity plus this part of it at the latest,
 * what replaces it has been asked for. */
#define LATEST_SHIFT(validity) ((validity) / 8)

/* A response that is older than this part of its validity when it is obtained
 * was signed ahead, not for us. */
#define SIGNED_AHEAD(validity) ((validity) / 50)

/* The longest Retry-After that is honoured, unless failures may pause longer
 * anyway. */
#define RETRY_AFTER_MAX SECONDS(3600)

/* Between questions about what was not renewed in time. */
#define OVERDUE_PAUSE_MIN SECONDS(3600)
#define OVERDUE_PAUSE_MAX SECONDS(86400)

static apr_int64_t lesser(apr_int64_t a, apr_int64_t b)
{
    return a < b ? a : b;
}

static apr_int64_t greater(apr_int64_t a, apr_int64_t b)
{
    return a > b ? a : b;
}

/* A number from 0 to 1023 that is fixed for an id and a turn. Ids are digests,
 * but a single FNV-1a step per byte costs nothing and spreads any bytes. */
static int spread(const unsigned char *id, apr_uint32_t turn)
{
    apr_uint32_t sum = 2166136261u ^ turn;
    int i;

    for (i = 0; i < STAPLE_ID_LEN; i++) {
        sum = (sum ^ id[i]) * 16777619u;
    }
    return (int)((sum ^ (sum >> 16)) & 1023u);
}

/* From -span to +span. Divides first: span may be as long as time itself. */
static apr_interval_time_t jitter(const unsigned char *id, apr_uint32_t turn,
                                  apr_interval_time_t span)
{
    return span / 512 * (spread(id, turn) - 512);
}

/* How far from the middle of its validity a response is asked for anew. A CA
 * that signs ahead, once every half validity say, gives out the next response
 * no earlier in its life than this one was obtained: to ask sooner would bring
 * the same response again, and one more question. */
static apr_interval_time_t shift(const unsigned char *id,
                                 apr_interval_time_t validity,
                                 apr_interval_time_t age)
{
    apr_interval_time_t usual = jitter(id, 0, validity / 10), bit;

    if (age < SIGNED_AHEAD(validity)) {
        return usual;
    }
    bit = SIGNED_AHEAD(validity) / 1024 * spread(id, 1);
    return greater(usual, lesser(age + bit, LATEST_SHIFT(validity) - bit));
}

/* The question at the middle brought nothing newer: once more a little later,
 * for a CA that was a little late, and from then on at half of what is left;
 * the last tenth is begun only when it cannot be helped. */
static apr_time_t ask_again(apr_time_t this_update, apr_time_t until,
                            apr_time_t fetched_at)
{
    apr_interval_time_t validity = until - this_update;
    apr_time_t later = this_update + validity / 2 + LATEST_SHIFT(validity);
    apr_time_t half = fetched_at + (until - fetched_at) / 2;
    apr_time_t tenth = until - validity / 10;

    if (later > fetched_at) {
        return later;
    }
    return tenth > fetched_at ? lesser(half, tenth) : half;
}

/* Between two questions about one response; near its end, half of what is
 * left. */
static apr_interval_time_t shortest_gap(apr_interval_time_t validity,
                                        apr_interval_time_t left)
{
    apr_interval_time_t gap = greater(validity / 100,
                                      lesser(validity / 4, GAP_MIN));

    return greater(SECONDS(1), lesser(gap, left / 2));
}

/* ----- the age ----- */

/* The age for which a response is planned, even where it is served longer. */
static apr_interval_time_t planned_age(const staple_cert_policy_t *policy)
{
    return policy->greatest_age > 0 ? policy->greatest_age
                                  : STAPLE_RULES_STAPLE_AGE;
}

/* The end of a response's own validity, and of SSLStaplingResponseMaxAge. */
static apr_time_t end_of(const staple_cert_policy_t *policy,
                         apr_time_t this_update, apr_time_t next_update)
{
    apr_time_t from, until;

    staple_ocsp_window(&policy->times, this_update, next_update, &from, &until);
    return until;
}

/* The same, cut off where clients refuse it for its age. */
static apr_time_t served_end(const staple_cert_policy_t *policy,
                             apr_time_t this_update, apr_time_t next_update)
{
    apr_time_t until = end_of(policy, this_update, next_update);

    return policy->greatest_age > 0 && !policy->outlives_age
           ? lesser(until, this_update + policy->greatest_age) : until;
}

/* What is valid for long was not renewed in time: again after an hour, then
 * after as long as it is overdue, which doubles each time, up to a day. */
static apr_time_t ask_overdue(apr_time_t due, apr_time_t fetched_at)
{
    return fetched_at + lesser(greater(fetched_at - due, OVERDUE_PAUSE_MIN),
                               OVERDUE_PAUSE_MAX);
}

int staple_rules_is_overdue(const staple_cert_policy_t *policy,
                            const staple_ocsp_verdict_t *verdict,
                            apr_time_t now)
{
    apr_interval_time_t age = planned_age(policy);

    return end_of(policy, verdict->this_update, verdict->next_update)
           > verdict->this_update + age
           && now - verdict->this_update >= age / 2 + LATEST_SHIFT(age);
}

/* ----- when to ask ----- */

/* By the response's own times. */
static apr_time_t due_by_validity(const staple_cert_policy_t *policy,
                                  const unsigned char *id,
                                  const staple_cache_meta_t *meta)
{
    apr_time_t from = meta->this_update, fetched_at = meta->fetched_at;
    apr_time_t end = end_of(policy, from, meta->next_update);
    apr_time_t until = lesser(end, from + planned_age(policy));
    apr_interval_time_t validity = greater(until - from, 0);
    apr_time_t due = from + validity / 2
                     + shift(id, validity, fetched_at - from);

    if (due > fetched_at) {
        return due;
    }
    return until < end ? lesser(ask_overdue(due, fetched_at),
                                ask_again(from, end, fetched_at))
                       : ask_again(from, until, fetched_at);
}

/* Not sooner than this after it was obtained. */
static apr_interval_time_t gap_after(const staple_cert_policy_t *policy,
                                     const staple_cache_meta_t *meta)
{
    apr_time_t end = end_of(policy, meta->this_update, meta->next_update);
    apr_time_t until = lesser(end, meta->this_update + planned_age(policy));

    return shortest_gap(greater(until - meta->this_update, 0),
                        end - meta->fetched_at);
}

apr_time_t staple_rules_due(const staple_cert_policy_t *policy,
                            const unsigned char *id,
                            const staple_cache_meta_t *meta,
                            apr_interval_time_t fresh_for)
{
    apr_time_t fetched_at = meta->fetched_at;
    apr_time_t due = due_by_validity(policy, id, meta);

    if (!meta->next_update) {
        due = lesser(due, fetched_at + NO_NEXT_UPDATE_AGE);
    }
    if (fresh_for > 0) { /* 0 forbids caches to keep it, and means no date */
        due = lesser(due, fetched_at + fresh_for);
    }
    if (meta->status == STAPLE_OCSP_REVOKED && policy->revoked_recheck > 0) {
        due = lesser(due, fetched_at + policy->revoked_recheck);
    }
    due = greater(due, fetched_at + gap_after(policy, meta));
    if (policy->refresh_age >= 0) { /* the administrator's word is the last */
        due = lesser(due, fetched_at + greater(policy->refresh_age,
                                               SECONDS(1)));
    }
    return due;
}

apr_interval_time_t staple_rules_backoff(const staple_cert_policy_t *policy,
                                         const unsigned char *id,
                                         apr_uint32_t failing,
                                         apr_interval_time_t remaining,
                                         apr_interval_time_t retry_after)
{
    apr_interval_time_t cap = greater(policy->retry_cap, SECONDS(1));
    apr_interval_time_t pause = lesser(GAP_MIN, cap);
    apr_interval_time_t asked = lesser(retry_after,
                                       greater(cap, RETRY_AFTER_MAX));
    apr_uint32_t i;

    for (i = 1; i < failing && pause < cap; i++) {
        pause = lesser(pause * 2, cap);
    }
    if (remaining > 0) {
        apr_interval_time_t most = greater(remaining / 10,
                                           lesser(GAP_MIN, cap));

        pause = lesser(pause, most);
        asked = lesser(asked, most);
    }
    if (asked >= pause) { /* never before it */
        return asked + asked / 5 / 1024 * spread(id, failing);
    }
    return greater(asked, pause + jitter(id, failing, pause / 5));
}

apr_interval_time_t staple_rules_probe_interval(apr_interval_time_t outage)
{
    if (outage < SECONDS(60)) {
        return SECONDS(3);
    }
    return outage < SECONDS(600) ? SECONDS(5) : SECONDS(30);
}

apr_time_t staple_rules_serve_until(const staple_cert_policy_t *policy,
                                    const staple_cache_meta_t *meta)
{
    return meta->flags & STAPLE_RULES_IS_ERROR
           ? meta->next_update
           : served_end(policy, meta->this_update, meta->next_update);
}

int staple_rules_is_urgent(const staple_cert_policy_t *policy,
                           const staple_cache_meta_t *meta, apr_time_t now)
{
    apr_time_t until = staple_rules_serve_until(policy, meta);

    return until - now < (until - meta->this_update) / 10;
}

int staple_rules_may_serve(const staple_cert_policy_t *policy,
                           const staple_cache_meta_t *meta, apr_time_t now)
{
    apr_time_t from, until;

    if (meta->flags & STAPLE_RULES_IS_ERROR) {
        return policy->return_errors && now < meta->next_update;
    }
    staple_ocsp_window(&policy->times, meta->this_update, meta->next_update,
                       &from, &until);
    return from <= now
           && now < served_end(policy, meta->this_update, meta->next_update);
}

int staple_rules_is_too_old(const staple_cert_policy_t *policy,
                            const staple_cache_meta_t *meta, apr_time_t now)
{
    return !(meta->flags & STAPLE_RULES_IS_ERROR)
           && !staple_rules_may_serve(policy, meta, now)
           && meta->this_update <= now
           && now < end_of(policy, meta->this_update, meta->next_update);
}

int staple_rules_is_believed(const staple_cert_t *cert,
                             const unsigned char *der, apr_size_t len,
                             apr_time_t now, staple_ocsp_verdict_t *verdict)
{
    if (!cert->subject) { /* its issuer has not been fetched yet */
        memset(verdict, 0, sizeof(*verdict));
        verdict->reason = STAPLE_OCSP_NO_SIGNER;
        return 0;
    }
    return staple_ocsp_judge(verdict, cert->subject, &cert->policy->times, now,
                             der, len) == STAPLE_OCSP_OK
           && verdict->status != STAPLE_OCSP_UNKNOWN;
}

staple_fetch_judgement_e staple_rules_judgement(staple_ocsp_reason_e reason)
{
    switch (reason) {
    case STAPLE_OCSP_NOT_DER:
    case STAPLE_OCSP_TRAILING:
        return STAPLE_FETCH_UNREADABLE;
    case STAPLE_OCSP_MALFORMED_REQUEST:
        return STAPLE_FETCH_BAD_METHOD;
    case STAPLE_OCSP_EXPIRED:
    case STAPLE_OCSP_TOO_OLD:
        return STAPLE_FETCH_STALE;
    case STAPLE_OCSP_OK: /* and the certificate unknown */
    case STAPLE_OCSP_INTERNAL_ERROR:
    case STAPLE_OCSP_TRY_LATER:
    case STAPLE_OCSP_SIG_REQUIRED:
    case STAPLE_OCSP_UNAUTHORIZED:
    case STAPLE_OCSP_STATUS_OTHER:
        return STAPLE_FETCH_FINAL;
    default:
        return STAPLE_FETCH_UNUSABLE;
    }
}

apr_time_t staple_rules_until(const staple_cert_policy_t *policy,
                              const staple_ocsp_verdict_t *verdict)
{
    return served_end(policy, verdict->this_update, verdict->next_update);
}

staple_cache_meta_t staple_rules_meta(const staple_ocsp_verdict_t *verdict,
                                      apr_time_t now)
{
    staple_cache_meta_t meta;

    memset(&meta, 0, sizeof(meta));
    meta.this_update = verdict->this_update;
    meta.next_update = verdict->next_update;
    meta.fetched_at = now;
    meta.status = (apr_uint32_t)verdict->status;
    return meta;
}

int staple_rules_is_better(const staple_cert_policy_t *policy,
                           const staple_cache_meta_t *held,
                           const staple_ocsp_verdict_t *verdict,
                           int is_smaller, apr_time_t now)
{
    apr_time_t from, until, end;

    staple_ocsp_window(&policy->times, held->this_update, held->next_update,
                       &from, &until);
    if ((held->flags & STAPLE_RULES_IS_ERROR) || now < from || now >= until) {
        return 1;
    }
    if (verdict->this_update != held->this_update) {
        return verdict->this_update > held->this_update;
    }
    if ((apr_uint32_t)verdict->status != held->status) {
        return verdict->status == STAPLE_OCSP_REVOKED;
    }
    end = end_of(policy, verdict->this_update, verdict->next_update);
    return end > until || (end == until && is_smaller);
}
