/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * One certificate as it stands: its state, its numbers, and in words why.
 *
 * The one idea: whoever shows a certificate says what is known of it, and the
 * rules that a handshake follows (staple_rules.h) say what becomes of that. So
 * the status page, which knows the configuration, and staplectl, which may know
 * a file and nothing else, agree wherever they know the same.
 */

#include "staple_report.h"

#include <string.h>

#include <apr_cstr.h>
#include <apr_strings.h>

#include "staple_rules.h"
#include "staple_text.h"
#include "staple_words.h"

/* Bytes of an id that stand for a certificate which has no other name. */
#define ID_SHOWN 8

/* ----- state and numbers ----- */

static staple_state_e state_of(const staple_view_t *view, apr_time_t now)
{
    staple_state_facts_t facts;

    memset(&facts, 0, sizeof(facts));
    facts.now = now;
    facts.traits = &view->traits;
    facts.policy = view->policy;
    facts.exchange = view->has_exchange ? &view->exchange : NULL;
    facts.held = view->der ? &view->meta : NULL;
    facts.reason = view->is_judged ? view->reason : STAPLE_OCSP_OK;
    facts.has_slot = view->has_slot;
    facts.is_pending = view->is_pending;
    return staple_state_judge(&facts);
}

static int is_served(staple_state_e state)
{
    return state == STAPLE_STATE_REVOKED || state == STAPLE_STATE_EXPIRING
           || state == STAPLE_STATE_FAILING || state == STAPLE_STATE_STAPLED;
}

static void count_exchange(const staple_view_t *view,
                           staple_cert_numbers_t *numbers)
{
    const staple_cache_state_t *exchange = &view->exchange;
    staple_words_phases_t phases;

    numbers->last_attempt = exchange->last_attempt;
    numbers->last_success = exchange->last_success;
    numbers->next_due = exchange->next_due;
    numbers->attempts = exchange->attempts;
    numbers->failures = exchange->failures;
    numbers->failing = exchange->failing;
    staple_words_phases(exchange, &phases);
    numbers->resolve_took = phases.resolve;
    numbers->connect_took = phases.connect;
    numbers->wait_took = phases.wait;
}

/* Seldom, so it is read again rather than kept with each response. It stands
 * after the response has ended, too: what the CA has said is not undone. */
static void count_revocation(const staple_view_t *view,
                             staple_cert_numbers_t *numbers)
{
    int reason = -1;

    if (view->der && view->meta.status == STAPLE_OCSP_REVOKED) {
        staple_report_read_revocation(view, &numbers->revoked, &reason);
    }
    numbers->revoked_reason = reason;
}

/* A responder's error has no validity. */
static void count_held(const staple_view_t *view,
                       staple_cert_numbers_t *numbers)
{
    if (!view->der || view->meta.flags & STAPLE_RULES_IS_ERROR) {
        return;
    }
    numbers->this_update = view->meta.this_update;
    numbers->next_update = view->meta.next_update;
    numbers->serve_until = staple_rules_serve_until(view->policy,
                                                      &view->meta);
    numbers->fetched = view->meta.fetched_at;
}

/* A response nears its end, or ends, without anybody noting it. */
static apr_time_t end_began(const staple_cert_numbers_t *numbers)
{
    return numbers->serve_until
           - (numbers->serve_until - numbers->this_update) / 10;
}

static apr_time_t since_of(const staple_view_t *view, apr_time_t now)
{
    const staple_cert_numbers_t *numbers = &view->numbers;
    apr_time_t since = staple_words_since(&view->exchange,
                                          (int)numbers->attention);

    return !since && numbers->attention && numbers->serve_until
           && end_began(numbers) <= now ? end_began(numbers) : since;
}

/* What fails where nobody is asked any more is history: neither a responder nor
 * who has the issuer's certificate. */
static void pass_over_history(staple_view_t *view)
{
    if (view->traits.is_known && !view->traits.has_urls
        && !view->traits.has_issuer_urls) {
        view->exchange.failing = 0;
    }
}

void staple_report_judge(staple_view_t *view, apr_time_t now)
{
    const staple_cert_t *cert = view->cert;
    staple_cert_numbers_t *numbers = &view->numbers;

    if (cert && !view->traits.is_known) {
        staple_state_traits_of(&view->traits, cert);
    }
    pass_over_history(view);
    view->state = state_of(view, now);
    view->is_stapled = is_served(view->state);
    view->url = cert ? staple_words_url(&view->exchange, cert->urls) : NULL;
    numbers->stapled = view->is_stapled;
    numbers->attention = staple_state_needs_attention(view->state);
    numbers->must_staple = view->traits.is_must_staple;
    numbers->not_after = view->traits.not_after;
    numbers->served = (apr_int64_t)view->served.served;
    numbers->missed = (apr_int64_t)view->served.missed;
    count_exchange(view, numbers);
    count_held(view, numbers);
    count_revocation(view, numbers);
    numbers->since = since_of(view, now);
}

/* ----- why ----- */

/* "keyCompromise, 1" */
static const char *reason_text(int crl_reason, apr_pool_t *p)
{
    const char *text = staple_ocsp_crl_reason_text(crl_reason);

    return crl_reason < 0 ? text
                          : apr_psprintf(p, "%s, %d", text, crl_reason);
}

static const char *revocation_text(const staple_view_t *view, apr_pool_t *p)
{
    apr_time_t revoked_at = view->numbers.revoked;

    return apr_pstrcat(p, "the CA revoked it", revoked_at
                       ? " at " : "; it says that it never issued it",
                       revoked_at ? staple_words_when_text(revoked_at, p) : "",
                       " (reason: ",
                       reason_text((int)view->numbers.revoked_reason, p), ")",
                       NULL);
}

/* What is still held of an earlier response. */
static const char *leftover_text(const staple_view_t *view, apr_time_t now,
                                 apr_pool_t *p)
{
    apr_time_t until = view->numbers.serve_until;

    return until && until <= now
           ? apr_pstrcat(p, "; the last response ended at ",
                         staple_words_when_text(until, p),
                         view->numbers.revoked ? " and said that " : "",
                         view->numbers.revoked ? revocation_text(view, p) : "",
                         NULL)
           : "";
}

#define CERT_EXPIRED "the certificate itself has expired, so no responder is " \
                     "asked"

/* Whether the certificate itself has expired. */
static int has_expired(const staple_view_t *view, apr_time_t now)
{
    return view->traits.not_after && view->traits.not_after <= now;
}

/* Why nobody is asked, or has answered, about a certificate. */
static const char *silence_text(const staple_view_t *view, apr_time_t now)
{
    const staple_state_traits_t *traits = &view->traits;

    if (traits->scope != STAPLE_CERT_APPLIES && !view->has_slot) {
        return staple_cert_scope_text(traits->scope);
    }
    if (has_expired(view, now)) {
        return CERT_EXPIRED;
    }
    if (view->der) {
        return view->meta.this_update > now
               ? "the response that is held is not valid yet"
               : "nothing newer has come";
    }
    if (!view->has_exchange) {
        return view->absence;
    }
    if (traits->is_known && !traits->has_urls) {
        return "none of its files (StapleResponseFile) holds a response that "
               "is valid";
    }
    return view->exchange.last_attempt
           ? "its response was dropped, or did not fit into the ring"
           : "no exchange with its responder has ended yet";
}

static const char *missing_text(const staple_view_t *view, apr_time_t now,
                                apr_pool_t *p)
{
    return apr_pstrcat(p, view->exchange.failing && !has_expired(view, now)
                       ? view->outcome : silence_text(view, now),
                       leftover_text(view, now, p), NULL);
}

static const char *too_old_text(const staple_view_t *view, apr_pool_t *p)
{
    return apr_pstrcat(p, "the responder's newest response was signed at ",
                       staple_words_when_text(view->meta.this_update, p),
                       " and is older than StapleMaxAge", NULL);
}

static const char *invalid_text(const staple_view_t *view, apr_pool_t *p)
{
    return apr_pstrcat(p, "the response ",
                       staple_ocsp_reason_text(view->reason), NULL);
}

static const char *error_text(const staple_view_t *view, apr_pool_t *p)
{
    if (view->is_judged && view->reason != STAPLE_OCSP_OK) {
        return invalid_text(view, p);
    }
    return *view->outcome ? view->outcome
                          : "the responder does not know the certificate";
}

static const char *not_applicable_text(const staple_state_traits_t *traits)
{
    return traits->has_refused_urls && !traits->has_urls
           ? "what it names as its OCSP responder is no URL"
           : staple_cert_scope_text(traits->scope);
}

/* Why there is nothing newer than what is held. */
static const char *missing_newer_text(const staple_view_t *view, apr_time_t now)
{
    if (has_expired(view, now)) {
        return CERT_EXPIRED;
    }
    return view->exchange.failing ? view->outcome : "nothing newer has come";
}

static const char *cause_of(const staple_view_t *view, apr_time_t now,
                            apr_pool_t *p)
{
    switch (view->state) {
    case STAPLE_STATE_REFUSED:
    case STAPLE_STATE_MISSING:
    case STAPLE_STATE_WAITING:
        return missing_text(view, now, p);
    case STAPLE_STATE_REVOKED:
        return revocation_text(view, p);
    case STAPLE_STATE_INVALID:
        return invalid_text(view, p);
    case STAPLE_STATE_ERROR:
        return error_text(view, p);
    case STAPLE_STATE_EXPIRING:
    case STAPLE_STATE_FAILING:
        return missing_newer_text(view, now);
    case STAPLE_STATE_TOO_OLD:
        return too_old_text(view, p);
    case STAPLE_STATE_NO_ROOM:
        return "the ring has no slot for it";
    case STAPLE_STATE_PENDING:
        return "a response from before the start waits to be verified";
    case STAPLE_STATE_NOT_APPLICABLE:
        return not_applicable_text(&view->traits);
    case STAPLE_STATE_STAPLED:
    case STAPLE_STATES:
        break;
    }
    return "";
}

/* ----- what to do ----- */

/* Of a certificate about which nobody is asked, though clients or the
 * configuration want a response. */
static staple_state_advice_t advice_of_scope(staple_cert_scope_e scope)
{
    static const staple_state_advice_t no_source = { "the certificate",
        "have one issued without must-staple, or give responses with "
        "StapleResponseFile" };
    static const staple_state_advice_t no_issuer = {
        "this server's configuration", "append the issuer's certificate to the "
        "file of SSLCertificateChainFile, or if that is not set, of "
        "SSLCertificateFile; clients want it as well" };
    static const staple_state_advice_t wrong_issuer = {
        "this server's configuration", "put the certificate of the CA that "
        "signed it into the file of SSLCertificateChainFile, or if that is not "
        "set, behind it into that of SSLCertificateFile" };
    static const staple_state_advice_t oversized = { "the certificate",
        "have a new one issued; clients may refuse this one" };

    switch (scope) {
    case STAPLE_CERT_NO_ISSUER:
        return no_issuer;
    case STAPLE_CERT_WRONG_ISSUER:
        return wrong_issuer;
    case STAPLE_CERT_OVERSIZED:
        return oversized;
    default:
        return no_source;
    }
}

static staple_state_advice_t advice_of(const staple_view_t *view,
                                       apr_time_t now, apr_pool_t *p)
{
    static const staple_state_advice_t ended = { "the certificate",
        "have the new one installed; no client accepts this one" };
    int is_missing = view->state == STAPLE_STATE_MISSING
                     || view->state == STAPLE_STATE_REFUSED;

    if (has_expired(view, now)
        && (is_missing || view->state == STAPLE_STATE_EXPIRING
            || view->state == STAPLE_STATE_FAILING)) {
        return ended;
    }
    return is_missing && !view->has_slot
           && view->traits.scope != STAPLE_CERT_APPLIES
           ? advice_of_scope(view->traits.scope)
           : staple_state_advise(view->state, &view->exchange, view->url, p);
}

/* ----- names ----- */

const char *staple_report_id_text(const unsigned char id[STAPLE_ID_LEN],
                                  apr_pool_t *p)
{
    apr_size_t len = STAPLE_ID_LEN;

    while (len > 1 && !id[len - 1]) {
        len--;
    }
    return staple_text_hex(id, len, p);
}

static const char *serial_of(const staple_view_t *view)
{
    if (view->cert) {
        return view->cert->serial;
    }
    return view->response ? view->response->serial : "";
}

static const char *name_of(const staple_view_t *view, apr_pool_t *p)
{
    if (view->cert) {
        return view->cert->name;
    }
    if (*view->host) {
        return view->host;
    }
    return *view->serial
           ? apr_pstrcat(p, "serial ", view->serial, NULL)
           : apr_pstrcat(p, "fingerprint ",
                         staple_text_hex(view->id, ID_SHOWN, p), NULL);
}

void staple_report_explain(staple_view_t *view, apr_time_t now,
                           apr_pool_t *p_row)
{
    view->serial = serial_of(view);
    view->name = name_of(view, p_row);
    view->outcome = view->peer = "";
    if (view->exchange.last_attempt) {
        view->outcome = staple_words_outcome_text(&view->exchange, p_row);
        view->peer = staple_words_peer_text(&view->exchange, p_row);
    }
    view->cause = cause_of(view, now, p_row);
    view->advice = advice_of(view, now, p_row);
}

/* ----- looking for words ----- */

static int contains(const char *text, const char *words)
{
    apr_size_t len = strlen(words);

    for (; *text; text++) {
        if (!apr_cstr_casecmpn(text, words, len)) {
            return 1;
        }
    }
    return 0;
}

static int any_contains(const apr_array_header_t *texts, const char *words)
{
    int i;

    for (i = 0; i < texts->nelts; i++) {
        if (contains(APR_ARRAY_IDX(texts, i, const char *), words)) {
            return 1;
        }
    }
    return 0;
}

int staple_report_has_words(const staple_view_t *view, const char *words)
{
    const staple_cert_t *cert = view->cert;

    if (!*words || contains(staple_state_text(view->state), words)
        || contains(view->host, words)) {
        return 1;
    }
    return cert && (contains(cert->name, words)
                    || contains(cert->subject_dn, words)
                    || contains(cert->issuer_dn, words)
                    || contains(cert->serial, words)
                    || any_contains(cert->hosts, words)
                    || any_contains(cert->urls, words));
}
