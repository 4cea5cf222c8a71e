/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The model behind every view: how all certificates, their responders and the
 * ring stand at one moment.
 *
 * The one idea: everything is read from the ring, where the refresher has left
 * it, and judged by the rules that a handshake
 * follows (staple_rules_may_serve), so the page says what a client gets.
 *
 * A first pass over all certificates gives the sums and the order; what is
 * said of each is worked out again when its row is written, so that only a row
 * has to be in memory.
 */

#include "status_int.h"

#include <stdlib.h>
#include <apr_hash.h>
#include <apr_lib.h>
#include <apr_strings.h>

#include "staple_text.h"

/* ----- one certificate ----- */

const char *staple_status_id_text(const staple_cert_t *cert, apr_pool_t *p)
{
    apr_size_t len = STAPLE_ID_LEN;

    while (len > 1 && !cert->id[len - 1]) {
        len--;
    }
    return staple_text_hex(cert->id, len, p);
}

static int digit_of(char c)
{
    return apr_isdigit(c) ? c - '0' : apr_tolower(c) - 'a' + 10;
}

const staple_cert_t *staple_status_find(const staple_status_conf_t *conf,
                                        const char *id)
{
    unsigned char bytes[STAPLE_ID_LEN];
    apr_size_t len = strlen(id), i;

    if (len < 2 || len % 2 || len > 2 * sizeof(bytes)
        || strspn(id, "0123456789abcdefABCDEF") != len) {
        return NULL;
    }
    memset(bytes, 0, sizeof(bytes));
    for (i = 0; i < len / 2; i++) {
        bytes[i] = (unsigned char)(digit_of(id[2 * i]) << 4
                                   | digit_of(id[2 * i + 1]));
    }
    return staple_cert_find(conf->registry, (const char *)bytes,
                            sizeof(bytes));
}

/* What the ring holds, and whether a handshake would get it. */
static void look_into_ring(const moment_t *moment, view_t *view)
{
    const staple_cache_t *cache = moment->conf->cache;
    const staple_cert_t *cert = view->cert;
    staple_cache_served_t sum;
    int may_serve;

    if (!cache || cert->slot < 0) {
        return;
    }
    staple_cache_state(cache, cert->slot, &view->state);
    staple_cache_served(cache, cert->slot, &sum);
    view->numbers.served = (apr_int64_t)sum.served;
    view->numbers.missed = (apr_int64_t)sum.missed;
    if (staple_cache_read(cache, cert->slot, moment->buf,
                          STAPLE_CACHE_DER_MAX, &view->der_len, &view->meta)) {
        return;
    }
    view->der = moment->buf;
    may_serve = staple_rules_may_serve(&cert->policy, &view->meta,
                                       moment->now);
    view->is_error = may_serve && view->meta.flags & STAPLE_RULES_IS_ERROR;
    view->is_stapled = may_serve && !view->is_error;
}

static verdict_e judge(const moment_t *moment, const view_t *view)
{
    const staple_cert_t *cert = view->cert;

    if (cert->scope == STAPLE_CERT_NO_ISSUER) {
        return cert->is_must_staple ? VERDICT_REFUSED : VERDICT_MISSING;
    }
    if (cert->scope != STAPLE_CERT_APPLIES) {
        return VERDICT_NOT_APPLICABLE;
    }
    if (cert->slot < 0) {
        return VERDICT_NO_ROOM;
    }
    if (!view->is_stapled) {
        return cert->is_must_staple ? VERDICT_REFUSED : VERDICT_MISSING;
    }
    if (view->meta.status == STAPLE_OCSP_REVOKED) {
        return VERDICT_REVOKED;
    }
    if (staple_rules_is_urgent(&cert->policy, &view->meta, moment->now)) {
        return VERDICT_EXPIRING;
    }
    return view->state.failing ? VERDICT_FAILING : VERDICT_STAPLED;
}

static void count(const staple_cache_state_t *state, view_t *view)
{
    cert_numbers_t *numbers = &view->numbers;
    staple_words_phases_t phases;

    numbers->stapled = view->is_stapled;
    numbers->attention = staple_status_needs_attention(view->verdict);
    numbers->must_staple = view->cert->is_must_staple;
    numbers->attempts = state->attempts;
    numbers->failures = state->failures;
    numbers->failing = state->failing;
    numbers->last_attempt = state->last_attempt;
    numbers->last_success = state->last_success;
    numbers->next_due = state->next_due;
    numbers->not_after = view->cert->not_after;
    staple_words_phases(state, &phases);
    numbers->resolve_took = phases.resolve;
    numbers->connect_took = phases.connect;
    numbers->wait_took = phases.wait;
    if (view->is_stapled) {
        numbers->this_update = view->meta.this_update;
        numbers->next_update = view->meta.next_update;
        numbers->fetched = view->meta.fetched_at;
        numbers->serve_until = staple_rules_serve_until(
            &view->cert->policy, &view->meta);
    }
}

void staple_status_weigh(const moment_t *moment, const staple_cert_t *cert,
                         view_t *view)
{
    memset(view, 0, sizeof(*view));
    view->cert = cert;
    view->cause = view->fault = view->advice = view->outcome = "";
    view->peer = "";
    look_into_ring(moment, view);
    view->url = staple_words_url(&view->state, cert->urls);
    view->verdict = judge(moment, view);
    count(&view->state, view);
}

/* ----- why ----- */

/* Once more as the refresh did it, for what the ring does not keep. */
static const char *revocation_text(const moment_t *moment, const view_t *view,
                                   apr_pool_t *p)
{
    staple_ocsp_verdict_t verdict;
    const char *when;

    staple_ocsp_judge(&verdict, view->cert->subject, &view->cert->policy.times,
                      moment->now, view->der, view->der_len);
    when = staple_words_time_text(verdict.revoked_at, p);
    return apr_psprintf(p, "the CA revoked it%s%s (reason: %s)",
                        when ? " at " : "; it says it never issued it",
                        when ? when : "",
                        staple_ocsp_crl_reason_text(verdict.crl_reason));
}

static const char *held_text(const moment_t *moment, const view_t *view,
                             apr_pool_t *p)
{
    apr_time_t until;

    if (view->is_error) {
        return "; the responder's error is stapled "
               "(SSLStaplingReturnResponderErrors)";
    }
    if (!view->der || view->meta.flags & STAPLE_RULES_IS_ERROR) {
        return "";
    }
    until = staple_rules_serve_until(&view->cert->policy, &view->meta);
    return until <= moment->now
           ? apr_pstrcat(p, "; the last response ended at ",
                         staple_words_time_text(until, p), NULL)
           : "";
}

static const char *missing_text(const moment_t *moment, const view_t *view,
                                apr_pool_t *p)
{
    const char *why;

    if (view->cert->not_after && view->cert->not_after <= moment->now) {
        why = "the certificate itself has expired, so no responder is asked";
    }
    else if (view->cert->scope != STAPLE_CERT_APPLIES) {
        why = staple_cert_scope_text(view->cert->scope);
    }
    else if (!view->state.last_attempt) {
        why = view->cert->urls->nelts
              ? "no exchange with its responder has ended yet"
              : "none of its files (StapleResponseFile) holds a response that "
                "is valid";
    }
    else if (view->state.failing) {
        why = view->outcome;
    }
    else {
        why = "its response was dropped, or did not fit into the ring";
    }
    return apr_pstrcat(p, why, held_text(moment, view, p), NULL);
}

static const char *cause_of(const moment_t *moment, const view_t *view,
                            apr_pool_t *p)
{
    switch (view->verdict) {
    case VERDICT_REFUSED:
    case VERDICT_MISSING:
        return missing_text(moment, view, p);
    case VERDICT_REVOKED:
        return revocation_text(moment, view, p);
    case VERDICT_EXPIRING:
        return view->state.failing ? view->outcome : "nothing newer has come";
    case VERDICT_FAILING:
        return view->outcome;
    case VERDICT_NO_ROOM:
        return "the ring has no slot for it";
    case VERDICT_NOT_APPLICABLE:
        return view->cert->urls_refused && !view->cert->urls->nelts
               ? "what it names as its OCSP responder is no URL"
               : staple_cert_scope_text(view->cert->scope);
    case VERDICT_STAPLED:
    case VERDICTS:
        break;
    }
    return "";
}

static void advise(view_t *view)
{
    if (view->cert->scope == STAPLE_CERT_NO_ISSUER) {
        view->fault = "this server's configuration";
        view->advice = "append the issuer's certificate to the file of "
                       "SSLCertificateFile; clients want it as well";
        return;
    }
    switch (view->verdict) {
    case VERDICT_REVOKED:
        view->fault = "the certificate";
        view->advice = "clients that check refuse it; have a new one issued";
        break;
    case VERDICT_NO_ROOM:
        view->fault = "this server's configuration";
        view->advice = "raise the size in SSLStaplingCache, or set "
                       "StapleCacheGrow on";
        break;
    case VERDICT_REFUSED:
    case VERDICT_MISSING:
    case VERDICT_EXPIRING:
    case VERDICT_FAILING:
        staple_status_blame(&view->state, &view->fault, &view->advice);
        if (view->verdict == VERDICT_EXPIRING && !*view->fault) {
            view->fault = "the responder";
            view->advice = "what it gives is nearly over; it is asked again "
                           "in time, but the CA should know";
        }
        break;
    case VERDICT_STAPLED:
    case VERDICT_NOT_APPLICABLE:
    case VERDICTS:
        break;
    }
}

void staple_status_look(const moment_t *moment, const staple_cert_t *cert,
                        view_t *view, apr_pool_t *p)
{
    staple_status_weigh(moment, cert, view);
    if (view->state.last_attempt) {
        view->outcome = staple_words_outcome_text(&view->state, p);
        view->peer = staple_words_peer_text(&view->state, p);
    }
    view->cause = cause_of(moment, view, p);
    advise(view);
}

/* ----- all of them ----- */

static int contains(const char *text, const char *words)
{
    apr_size_t len = strlen(words);

    for (; *text; text++) {
        if (!ap_cstr_casecmpn(text, words, len)) {
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

static int is_wanted(const view_t *view, const query_t *query)
{
    const staple_cert_t *cert = view->cert;
    const char *words = query->words;

    if (query->only_attention
        && !staple_status_needs_attention(view->verdict)) {
        return 0;
    }
    if (query->serial && ap_cstr_casecmp(cert->serial, query->serial)) {
        return 0;
    }
    return !*words || contains(cert->name, words)
           || contains(cert->subject_dn, words)
           || contains(cert->issuer_dn, words)
           || contains(cert->serial, words)
           || contains(staple_status_verdict_text(view->verdict), words)
           || any_contains(cert->hosts, words)
           || any_contains(cert->urls, words);
}

static responder_t *responder_of(apr_hash_t *by_url, const char *url,
                                 apr_pool_t *p)
{
    responder_t *responder = apr_hash_get(by_url, url, APR_HASH_KEY_STRING);

    if (!responder) {
        responder = apr_pcalloc(p, sizeof(*responder));
        responder->url = url;
        apr_hash_set(by_url, url, APR_HASH_KEY_STRING, responder);
    }
    return responder;
}

/* A failure is that of every URL, for each was tried, and a success that of
 * the one that answered. What came out of the share is neither. */
static void add_to_responder(responder_t *responder, const view_t *view)
{
    const staple_cache_state_t *state = &view->state;
    responder_numbers_t *numbers = &responder->numbers;
    int is_asked = view->url && !strcmp(view->url, responder->url);

    numbers->certificates++;
    if (state->failing) {
        numbers->failing++;
        if (state->last_attempt > numbers->last_failure) {
            numbers->last_failure = state->last_attempt;
        }
    }
    if (!is_asked) {
        return;
    }
    if ((!state->failing || view->cert->urls->nelts == 1)
        && state->last_success > numbers->last_success) {
        numbers->last_success = state->last_success;
    }
    if (state->last_attempt > responder->latest.last_attempt) {
        responder->latest = *state;
    }
}

const char *staple_status_responder_text(const responder_t *responder,
                                         apr_pool_t *p)
{
    if (!responder->latest.last_attempt && responder->numbers.failing) {
        return "failed, and another was asked";
    }
    return staple_words_outcome_text(&responder->latest, p);
}

static void add_to_sums(moment_t *moment, const view_t *view)
{
    server_numbers_t *sums = &moment->numbers;

    moment->verdicts[view->verdict]++;
    sums->certificates++;
    sums->attention += view->numbers.attention;
    sums->stapled += view->numbers.stapled;
    sums->served += view->numbers.served;
    sums->missed += view->numbers.missed;
    sums->attempts += view->numbers.attempts;
    sums->failures += view->numbers.failures;
}

static void add_row(moment_t *moment, const view_t *view, int number)
{
    row_t *row = &moment->rows[moment->rows_count++];

    row->cert = view->cert;
    row->verdict = view->verdict;
    row->until = view->numbers.serve_until;
    row->number = number;
}

static int by_urgency(const void *av, const void *bv)
{
    const row_t *a = av, *b = bv;

    if (a->verdict != b->verdict) {
        return a->verdict < b->verdict ? -1 : 1;
    }
    if (a->until != b->until) {
        return a->until < b->until ? -1 : 1;
    }
    return a->number - b->number;
}

static int by_failing(const void *av, const void *bv)
{
    const responder_t *a = av, *b = bv;

    if (a->numbers.failing != b->numbers.failing) {
        return a->numbers.failing > b->numbers.failing ? -1 : 1;
    }
    return strcmp(a->url, b->url);
}

static void list_responders(moment_t *moment, apr_hash_t *by_url,
                            apr_pool_t *p)
{
    apr_hash_index_t *hi;

    moment->responders = apr_array_make(p, (int)apr_hash_count(by_url) + 1,
                                        sizeof(responder_t));
    for (hi = apr_hash_first(p, by_url); hi; hi = apr_hash_next(hi)) {
        void *responder;

        apr_hash_this(hi, NULL, NULL, &responder);
        APR_ARRAY_PUSH(moment->responders, responder_t)
            = *(responder_t *)responder;
    }
    qsort(moment->responders->elts, (size_t)moment->responders->nelts,
          sizeof(responder_t), by_failing);
}

static void look_at_ring(moment_t *moment)
{
    server_numbers_t *sums = &moment->numbers;
    staple_cache_usage_t usage;

    if (!moment->conf->cache) {
        return;
    }
    staple_cache_usage(moment->conf->cache, &usage);
    sums->ring_size = (apr_int64_t)usage.size;
    sums->ring_data = (apr_int64_t)usage.data_size;
    sums->ring_live = (apr_int64_t)usage.live;
    sums->ring_free = sums->ring_data - sums->ring_live;
    sums->ring_records = (apr_int64_t)usage.records;
    sums->ring_stored = (apr_int64_t)usage.stored;
    sums->ring_moved = (apr_int64_t)usage.moved;
    sums->ring_refused = (apr_int64_t)usage.refused;
    sums->ring_generation = (apr_int64_t)usage.generation;
    sums->ring_created = usage.created;
}

static void look_at_share(moment_t *moment, apr_pool_t *p)
{
    share_numbers_t *numbers = &moment->share_numbers;
    staple_cache_share_t share;

    if (!moment->conf->cache || !moment->conf->share) {
        return;
    }
    staple_cache_share(moment->conf->cache, &share);
    moment->share = moment->conf->share;
    numbers->silent = share.is_silent;
    numbers->since = share.since;
    numbers->hits = (apr_int64_t)share.hits;
    numbers->misses = (apr_int64_t)share.misses;
    numbers->odd = (apr_int64_t)share.odd;
    numbers->stored = (apr_int64_t)share.stored;
    numbers->dropped = (apr_int64_t)share.dropped;
    numbers->unanswered = (apr_int64_t)share.unanswered;
    numbers->errors = (apr_int64_t)share.errors;
    numbers->last_error = share.last_error;
    if (share.last_error) {
        moment->share_error = staple_status_share_error(share.last_status, p);
    }
}

moment_t *staple_status_gather(const staple_status_conf_t *conf,
                               const query_t *query, apr_pool_t *p)
{
    const apr_array_header_t *list = staple_cert_list(conf->registry);
    moment_t *moment = apr_pcalloc(p, sizeof(*moment));
    apr_hash_t *by_url = apr_hash_make(p);
    view_t view;
    int i, k;

    moment->conf = conf;
    moment->now = apr_time_now();
    moment->buf = apr_palloc(p, STAPLE_CACHE_DER_MAX);
    moment->rows = apr_palloc(p, ((apr_size_t)list->nelts + 1)
                                 * sizeof(*moment->rows));
    for (i = 0; i < list->nelts; i++) {
        const staple_cert_t *cert = APR_ARRAY_IDX(list, i, staple_cert_t *);

        staple_status_weigh(moment, cert, &view);
        add_to_sums(moment, &view);
        for (k = 0; k < cert->urls->nelts; k++) {
            add_to_responder(responder_of(by_url,
                                          APR_ARRAY_IDX(cert->urls, k,
                                                        const char *), p),
                             &view);
        }
        if (is_wanted(&view, query)) {
            add_row(moment, &view, i);
        }
    }
    qsort(moment->rows, (size_t)moment->rows_count, sizeof(*moment->rows),
          by_urgency);
    list_responders(moment, by_url, p);
    look_at_ring(moment);
    look_at_share(moment, p);
    return moment;
}
