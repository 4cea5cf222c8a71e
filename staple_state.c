/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The states of a certificate: one table with their words, and the one function
 * that says which of them a certificate is in. What to do about a failure is in
 * state/advice.c.
 */

#include "staple_state.h"

#include <string.h>

#include "staple_rules.h"

static const struct {
    const char *name;
    const char *text;
    staple_severity_e severity;
    const char *meaning;
} states[STAPLE_STATES] = {
    { "refused", "no staple: must-staple clients refuse",
      STAPLE_SEVERITY_CRITICAL,
      "Nothing is stapled, and the certificate is must-staple: clients refuse "
      "it." },
    { "revoked", "revoked", STAPLE_SEVERITY_CRITICAL,
      "The response that is stapled says that the certificate is revoked." },
    { "invalid", "invalid", STAPLE_SEVERITY_CRITICAL,
      "The response that is held or was sent is not to be believed; clients "
      "refuse it." },
    { "error", "error stapled", STAPLE_SEVERITY_CRITICAL,
      "A responder's error is stapled (SSLStaplingReturnResponderErrors); some "
      "clients refuse it." },
    { "expiring", "expiring", STAPLE_SEVERITY_CRITICAL,
      "A valid response is stapled, but less than a tenth of its validity is "
      "left and nothing newer came." },
    { "missing", "missing", STAPLE_SEVERITY_CRITICAL,
      "Nothing is stapled, because no valid response could be had." },
    { "no_room", "no room", STAPLE_SEVERITY_CRITICAL,
      "Nothing is stapled, because the ring has no place for the "
      "certificate." },
    { "too_old", "too old for clients", STAPLE_SEVERITY_WARNING,
      "Nothing is stapled, because the response is older than StapleMaxAge and "
      "some clients would refuse it; the responder gave nothing newer." },
    { "pending", "not verified yet", STAPLE_SEVERITY_WARNING,
      "A response from before the start is held and is stapled once it is "
      "verified." },
    { "waiting", "not fetched yet", STAPLE_SEVERITY_WARNING,
      "Nothing is stapled yet: the first exchange with the responder has not "
      "ended." },
    { "failing", "stapled, renewal failing", STAPLE_SEVERITY_WARNING,
      "A valid response is stapled, but the last attempts to renew it "
      "failed." },
    { "stapled", "stapled", STAPLE_SEVERITY_OK,
      "A valid response is stapled." },
    { "not_applicable", "not applicable", STAPLE_SEVERITY_OK,
      "Nothing is stapled, because OCSP does not apply: the CA runs no "
      "responder, the certificate says noRevAvail, or it is self-signed." }
};

const char *staple_state_name(staple_state_e state)
{
    return states[state].name;
}

const char *staple_state_text(staple_state_e state)
{
    return states[state].text;
}

const char *staple_state_meaning(staple_state_e state)
{
    return states[state].meaning;
}

staple_severity_e staple_state_severity(staple_state_e state)
{
    return states[state].severity;
}

int staple_state_needs_attention(staple_state_e state)
{
    return states[state].severity != STAPLE_SEVERITY_OK;
}

staple_state_e staple_state_of_name(const char *name)
{
    int state = 0;

    while (state < STAPLE_STATES && strcmp(states[state].name, name)) {
        state++;
    }
    return (staple_state_e)state;
}

const char *staple_severity_name(staple_severity_e severity)
{
    static const char *const names[] = { "ok", "warning", "critical" };

    return names[severity];
}

/* ----- what a certificate is ----- */

/* Bits, in files: never renumber. The scope follows from bit 8 on. */
#define KNOWN 1u
#define MUST_STAPLE 2u
#define HAS_URLS 4u
#define HAS_REFUSED_URLS 8u
#define IS_OF_CHAIN 16u
#define HAS_ISSUER_URLS 32u
#define SCOPE_SHIFT 8

void staple_state_traits_of(staple_state_traits_t *traits,
                            const staple_cert_t *cert)
{
    traits->is_known = 1;
    traits->is_must_staple = cert->is_must_staple;
    traits->has_urls = cert->urls->nelts > 0;
    traits->has_issuer_urls = cert->issuer_urls->nelts > 0;
    traits->has_refused_urls = cert->urls_refused > 0;
    traits->is_of_chain = cert->is_of_chain;
    traits->scope = cert->scope;
    traits->not_after = cert->not_after;
}

apr_uint32_t staple_state_pack(const staple_state_traits_t *traits)
{
    return (traits->is_known ? KNOWN : 0)
           | (traits->is_must_staple ? MUST_STAPLE : 0)
           | (traits->has_urls ? HAS_URLS : 0)
           | (traits->has_issuer_urls ? HAS_ISSUER_URLS : 0)
           | (traits->has_refused_urls ? HAS_REFUSED_URLS : 0)
           | (traits->is_of_chain ? IS_OF_CHAIN : 0)
           | (apr_uint32_t)traits->scope << SCOPE_SHIFT;
}

void staple_state_unpack(staple_state_traits_t *traits,
                         const staple_cache_about_t *about)
{
    apr_uint32_t scope = about->traits >> SCOPE_SHIFT;

    memset(traits, 0, sizeof(*traits));
    if (!(about->traits & KNOWN) || scope >= STAPLE_CERT_SCOPES) {
        return;
    }
    traits->is_known = 1;
    traits->is_must_staple = (about->traits & MUST_STAPLE) != 0;
    traits->has_urls = (about->traits & HAS_URLS) != 0;
    traits->has_issuer_urls = (about->traits & HAS_ISSUER_URLS) != 0;
    traits->has_refused_urls = (about->traits & HAS_REFUSED_URLS) != 0;
    traits->is_of_chain = (about->traits & IS_OF_CHAIN) != 0;
    traits->scope = (staple_cert_scope_e)scope;
    traits->not_after = about->not_after;
}

/* ----- which state it is ----- */

/* What a responder said that the certificate does not have any more, as after
 * StapleResponseFile took the place of SSLStaplingForceURL, is history. */
static int is_renewal_failing(const staple_state_facts_t *facts)
{
    return facts->exchange && facts->exchange->failing
           && (!facts->traits->is_known || facts->traits->has_urls);
}

/* Something is held that a handshake gets, or would get. */
static staple_state_e judge_held(const staple_state_facts_t *facts)
{
    const staple_cache_meta_t *held = facts->held;

    if (held->flags & STAPLE_RULES_IS_ERROR
        || held->status == STAPLE_OCSP_UNKNOWN) {
        return STAPLE_STATE_ERROR;
    }
    if (facts->is_pending) {
        return STAPLE_STATE_PENDING;
    }
    if (held->status == STAPLE_OCSP_REVOKED) {
        return STAPLE_STATE_REVOKED;
    }
    if (staple_rules_is_urgent(facts->policy, held, facts->now)) {
        return STAPLE_STATE_EXPIRING;
    }
    return is_renewal_failing(facts) ? STAPLE_STATE_FAILING
                                     : STAPLE_STATE_STAPLED;
}

/* Whether the first answer is still to come: it is not where the certificate
 * itself has ended, or where nobody is asked. */
static int is_waiting(const staple_state_facts_t *facts)
{
    const staple_state_traits_t *traits = facts->traits;

    if (facts->held || !facts->exchange || facts->exchange->last_attempt
        || !facts->has_slot) {
        return 0;
    }
    return !traits->is_known
           || (traits->has_urls
               && (!traits->not_after || traits->not_after > facts->now));
}

/* A valid response is held and is too old, and that is all there is to it: the
 * responder answers, and gives nothing newer. */
static int is_too_old(const staple_state_facts_t *facts)
{
    return facts->held && !facts->is_pending && !is_renewal_failing(facts)
           && staple_rules_is_too_old(facts->policy, facts->held, facts->now);
}

/* Nothing is held that may be served. */
static staple_state_e judge_missing(const staple_state_facts_t *facts)
{
    if (facts->traits->is_must_staple) {
        return STAPLE_STATE_REFUSED;
    }
    if (is_too_old(facts)) {
        return STAPLE_STATE_TOO_OLD;
    }
    return is_waiting(facts) ? STAPLE_STATE_WAITING : STAPLE_STATE_MISSING;
}

/* A responder's error is sent on purpose, what is not to be believed is not. */
static int is_untrue(staple_ocsp_reason_e reason)
{
    switch (reason) {
    case STAPLE_OCSP_OK:
    case STAPLE_OCSP_MALFORMED_REQUEST:
    case STAPLE_OCSP_INTERNAL_ERROR:
    case STAPLE_OCSP_TRY_LATER:
    case STAPLE_OCSP_SIG_REQUIRED:
    case STAPLE_OCSP_UNAUTHORIZED:
        return 0;
    default:
        return 1;
    }
}

staple_state_e staple_state_judge(const staple_state_facts_t *facts)
{
    const staple_state_traits_t *traits = facts->traits;

    if (!facts->held && !staple_cert_may_be_stapled(traits->scope)) {
        return traits->is_must_staple ? STAPLE_STATE_REFUSED
                                      : STAPLE_STATE_NOT_APPLICABLE;
    }
    if (!facts->has_slot) {
        return traits->scope == STAPLE_CERT_APPLIES ? STAPLE_STATE_NO_ROOM
                                                    : judge_missing(facts);
    }
    if (facts->held && is_untrue(facts->reason)) {
        return STAPLE_STATE_INVALID;
    }
    return facts->held && staple_rules_may_serve(facts->policy, facts->held,
                                                   facts->now)
           ? judge_held(facts) : judge_missing(facts);
}
