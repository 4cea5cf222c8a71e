/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * All certificates at one moment: how many are in which state, and how their
 * responders do.
 *
 * The one idea: what a hundred certificates suffer from the same responder is
 * one trouble. It is told once, with what it means for how many of them.
 */

#include "staple_report.h"

#include <stdlib.h>
#include <string.h>

#include <apr_strings.h>

#include "staple_text.h"
#include "staple_words.h"

void staple_report_start(staple_report_t *report, const char *source,
                         apr_time_t now, apr_pool_t *p)
{
    memset(report, 0, sizeof(*report));
    report->source = source;
    report->now = now;
    report->by_url = apr_hash_make(p);
    report->responders = apr_array_make(p, 4, sizeof(staple_responder_t));
}

void staple_report_add_ring(staple_report_t *report,
                            const staple_cache_t *cache)
{
    staple_server_numbers_t *sums = &report->numbers;
    staple_cache_usage_t usage;
    unsigned int i;

    staple_cache_usage(cache, &usage);
    sums->avoided = (apr_int64_t)staple_cache_must(cache,
                                                   STAPLE_CACHE_MUST_AVOIDED);
    sums->refused = (apr_int64_t)staple_cache_must(cache,
                                                   STAPLE_CACHE_MUST_REFUSED);
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
    for (i = 0; i < STAPLE_CACHE_FAILURES; i++) {
        report->failures[i] = (apr_int64_t)staple_cache_failures(cache, i);
    }
}

/* ----- the share ----- */

static const char *share_error_text(apr_status_t status, apr_pool_t *p)
{
    char text[120];

    if (APR_STATUS_IS_TIMEUP(status)) {
        return "it took too long";
    }
    return status == APR_EGENERAL
           ? "it failed, and the provider does not say why"
           : apr_pstrdup(p, apr_strerror(status, text, sizeof(text)));
}

void staple_report_add_share(staple_report_t *report, const char *provider,
                             const staple_cache_share_t *share, apr_pool_t *p)
{
    staple_share_numbers_t *numbers = &report->share_numbers;

    report->share = provider;
    numbers->silent = share->is_silent;
    numbers->since = share->since;
    numbers->hits = (apr_int64_t)share->hits;
    numbers->misses = (apr_int64_t)share->misses;
    numbers->foreign = (apr_int64_t)share->foreign;
    numbers->stored = (apr_int64_t)share->stored;
    numbers->dropped = (apr_int64_t)share->dropped;
    numbers->unanswered = (apr_int64_t)share->unanswered;
    numbers->errors = (apr_int64_t)share->errors;
    numbers->last_error = share->last_error;
    if (share->last_error) {
        report->share_error = share_error_text(share->last_status, p);
    }
}

const char *staple_report_share_text(const staple_report_t *report,
                                     apr_pool_t *p)
{
    const staple_share_numbers_t *numbers = &report->share_numbers;
    const char *error = "";

    if (!numbers->since) {
        return "not used yet";
    }
    if (report->share_error) {
        error = apr_pstrcat(p, "; last error ",
                            staple_words_distance_text(numbers->last_error,
                                                 report->now, p), ": ",
                            report->share_error, NULL);
    }
    return apr_pstrcat(p, numbers->silent ? "it has not answered since "
                                          : "in use since ",
                       staple_words_when_text(numbers->since, p), error, NULL);
}

const char *staple_report_refresher_text(const staple_report_t *report,
                                         apr_pool_t *p)
{
    const staple_refresher_numbers_t *numbers = &report->refresher;

    if (!numbers->pid) {
        return "it has not begun yet: nothing is renewed";
    }
    if (!numbers->running) {
        return apr_psprintf(p, "process %" APR_INT64_T_FMT " gives no "
                            "heartbeat for %s: nothing is renewed",
                            numbers->pid,
                            staple_words_span_text(numbers->silence, p));
    }
    return apr_psprintf(p, "process %" APR_INT64_T_FMT ", begun %s",
                        numbers->pid,
                        staple_words_distance_text(numbers->started,
                                                   report->now, p));
}

/* ----- responders ----- */

static staple_responder_t *responder_of(staple_report_t *report,
                                        const char *url, apr_pool_t *p)
{
    staple_responder_t *responder = apr_hash_get(report->by_url, url,
                                          APR_HASH_KEY_STRING);

    if (!responder) {
        responder = apr_pcalloc(p, sizeof(*responder));
        responder->url = url;
        apr_hash_set(report->by_url, url, APR_HASH_KEY_STRING, responder);
    }
    return responder;
}

/* Nobody is asked about a certificate that has expired. What its last exchange
 * came to says nothing of the responder from then on. */
static int is_asked_about(const staple_view_t *view, apr_time_t now)
{
    return !view->traits.not_after || view->traits.not_after > now;
}

static int is_failing(const staple_view_t *view, apr_time_t now)
{
    return view->exchange.failing && is_asked_about(view, now);
}

/* What is wrong with a revoked certificate is not that a responder fails, nor
 * with one that names none. */
static int is_wrong_otherwise(const staple_view_t *view, apr_time_t now)
{
    return !is_failing(view, now) || view->state == STAPLE_STATE_REVOKED
           || (view->traits.is_known && !view->traits.has_urls);
}

static void add_failing(staple_responder_t *responder,
                        const staple_view_t *view)
{
    staple_responder_numbers_t *numbers = &responder->numbers;
    apr_time_t until = view->numbers.serve_until;

    numbers->failing++;
    if (view->exchange.last_attempt > numbers->last_failure) {
        numbers->last_failure = view->exchange.last_attempt;
        responder->failure = view->exchange;
    }
    if (view->state != STAPLE_STATE_REVOKED
        && staple_state_severity(view->state) == STAPLE_SEVERITY_CRITICAL) {
        responder->is_critical = 1;
    }
    if (view->is_stapled) {
        numbers->failing_stapled++;
        if (!numbers->first_end || until < numbers->first_end) {
            numbers->first_end = until;
        }
    }
}

/* A failure is that of every URL, for each was tried, and a success that of
 * the one that answered. What came out of the share is neither. */
static void add_to_responder(staple_responder_t *responder,
                             const staple_view_t *view, apr_time_t now)
{
    const staple_cache_state_t *exchange = &view->exchange;
    staple_responder_numbers_t *numbers = &responder->numbers;
    int is_asked = view->url && !strcmp(view->url, responder->url);

    numbers->certificates++;
    if (is_failing(view, now)) {
        add_failing(responder, view);
    }
    if (!is_asked) {
        return;
    }
    if (!exchange->failing && exchange->last_success
        && is_asked_about(view, now)) {
        numbers->answering++;
    }
    if ((!exchange->failing || view->cert->urls->nelts == 1)
        && exchange->last_success > numbers->last_success) {
        numbers->last_success = exchange->last_success;
    }
    if (exchange->last_attempt > responder->latest.last_attempt) {
        responder->latest = *exchange;
    }
}

const char *staple_report_responder_text(const staple_responder_t *responder,
                                         apr_pool_t *p)
{
    if (!responder->latest.last_attempt && responder->numbers.failing) {
        return "failed, and another was asked";
    }
    return staple_words_outcome_text(&responder->latest, p);
}

/* What a failing responder means for its certificates. */
static const char *effect_text(const staple_responder_numbers_t *numbers,
                               apr_pool_t *p)
{
    apr_int64_t without = numbers->failing - numbers->failing_stapled;
    const char *kept = "";

    if (numbers->failing_stapled) {
        int is_one = numbers->failing_stapled == 1;

        kept = apr_psprintf(p, "%" APR_INT64_T_FMT " certificate%s keep%s a "
                            "valid response%s until %s",
                            numbers->failing_stapled, is_one ? "" : "s",
                            is_one ? "s" : "", is_one ? "" : ", the first",
                            staple_words_when_text(numbers->first_end, p));
    }
    if (!without) {
        return kept;
    }
    return apr_psprintf(p, "%s%s%" APR_INT64_T_FMT " certificate%s ha%s no "
                        "response", kept, *kept ? "; " : "", without,
                        staple_text_plural(without), without == 1 ? "s" : "ve");
}

const char *staple_report_trouble_text(const staple_responder_t *responder,
                                       apr_pool_t *p)
{
    const char *peer = staple_words_peer_text(&responder->failure, p);

    return apr_pstrcat(p, staple_words_outcome_text(&responder->failure, p),
                       *peer ? " (" : "", peer, *peer ? ")" : "", "; ",
                       effect_text(&responder->numbers, p), NULL);
}

static int by_failing(const void *av, const void *bv)
{
    const staple_responder_t *a = av, *b = bv;

    if (a->numbers.failing != b->numbers.failing) {
        return a->numbers.failing > b->numbers.failing ? -1 : 1;
    }
    return strcmp(a->url, b->url);
}

void staple_report_finish(staple_report_t *report, apr_pool_t *p)
{
    apr_hash_index_t *hi;

    report->numbers.since = report->numbers.attention ? report->ill_since
                                                      : report->well_since;
    for (hi = apr_hash_first(p, report->by_url); hi; hi = apr_hash_next(hi)) {
        const staple_responder_t *responder = apr_hash_this_val(hi);

        APR_ARRAY_PUSH(report->responders, staple_responder_t) = *responder;
    }
    qsort(report->responders->elts, (size_t)report->responders->nelts,
          sizeof(staple_responder_t), by_failing);
}

/* ----- certificates ----- */

/* Something is wrong since the first of those that need attention does, and
 * all is well since the last one is. */
static void add_since(staple_report_t *report, const staple_view_t *view)
{
    apr_time_t since = view->numbers.since;

    if (!since) {
        return;
    }
    if (!view->numbers.attention) {
        report->well_since = since > report->well_since ? since
                                                        : report->well_since;
    }
    else if (!report->ill_since || since < report->ill_since) {
        report->ill_since = since;
    }
}

void staple_report_add(staple_report_t *report, const staple_view_t *view,
                       apr_pool_t *p)
{
    staple_server_numbers_t *sums = &report->numbers;
    const apr_array_header_t *urls = view->cert ? view->cert->urls : NULL;
    int i;

    report->states[view->state]++;
    report->others[view->state] += is_wrong_otherwise(view, report->now);
    sums->certificates++;
    sums->applicable += view->state != STAPLE_STATE_NOT_APPLICABLE;
    sums->attention += view->numbers.attention;
    sums->stapled += view->numbers.stapled;
    add_since(report, view);
    sums->served += view->numbers.served;
    sums->missed += view->numbers.missed;
    sums->attempts += view->numbers.attempts;
    sums->failures += view->numbers.failures;
    for (i = 0; urls && i < urls->nelts; i++) {
        add_to_responder(responder_of(report,
                                      APR_ARRAY_IDX(urls, i, const char *),
                                      p), view, report->now);
    }
}

staple_state_e staple_report_worst(const staple_report_t *report)
{
    int state = 0;

    while (state < STAPLE_STATE_NOT_APPLICABLE && !report->states[state]) {
        state++;
    }
    return (staple_state_e)state;
}

const char *staple_report_since_text(const staple_report_t *report,
                                     apr_pool_t *p)
{
    apr_time_t since = report->numbers.since;

    if (!since || !report->numbers.applicable) {
        return "";
    }
    return apr_pstrcat(p, report->numbers.attention
                       ? "Something has been wrong since "
                       : "All has been well since ",
                       staple_words_when_text(since, p), " (",
                       staple_words_distance_text(since, report->now, p), ").",
                       NULL);
}

const char *staple_report_summary(const staple_report_t *report, apr_pool_t *p)
{
    apr_int64_t all = report->numbers.applicable;
    apr_int64_t attention = report->numbers.attention;
    int others = report->states[STAPLE_STATE_NOT_APPLICABLE];

    if (!report->numbers.certificates) {
        return "No certificate is to be stapled.";
    }
    if (!all) {
        return "OCSP applies to none of the certificates.";
    }
    if (attention) {
        return apr_psprintf(p, "%" APR_INT64_T_FMT " of %" APR_INT64_T_FMT
                            " certificate%s need%s attention.", attention, all,
                            staple_text_plural(all), attention == 1 ? "s" : "");
    }
    if (others) {
        return apr_psprintf(p, "All %" APR_INT64_T_FMT " certificates that "
                            "OCSP applies to are stapled.", all);
    }
    return all == 1 ? "The certificate is stapled."
                    : apr_psprintf(p, "All %" APR_INT64_T_FMT " certificates "
                                   "are stapled.", all);
}
