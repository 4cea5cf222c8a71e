/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * A report as JSON, the same of the status page and of staplectl.
 * docs/status.schema.json describes it and docs/status.md says how it may
 * change: "format" goes up when a member changes its meaning or goes, not when
 * one is added.
 */

#include "staple_report.h"

#include "staple_words.h"

#define FORMAT 2

static void put_number(staple_json_t *json, const staple_number_t *number,
                       apr_int64_t value)
{
    switch (number->unit) {
    case STAPLE_UNIT_TIME:
        staple_json_moment(json, number->name, value);
        break;
    case STAPLE_UNIT_SPAN:
        staple_json_span(json, number->name, value);
        break;
    case STAPLE_UNIT_NONE:
    case STAPLE_UNIT_BYTES:
        staple_json_number(json, number->name, value);
        break;
    }
}

static void put_numbers(staple_json_t *json, const staple_number_t *number,
                        const void *numbers)
{
    staple_json_open(json, "numbers", '{');
    for (; number->name; number++) {
        put_number(json, number, staple_number_of(number, numbers));
    }
    staple_json_close(json, '}');
}

/* ----- the document ----- */

static void put_share(staple_json_t *json, const staple_report_t *report,
                      apr_pool_t *p)
{
    if (!report->share) {
        staple_json_string(json, "share", NULL);
        return;
    }
    staple_json_open(json, "share", '{');
    staple_json_string(json, "provider", report->share);
    staple_json_string(json, "words", staple_report_share_text(report, p));
    staple_json_string(json, "error", report->share_error);
    put_numbers(json, staple_report_share_numbers, &report->share_numbers);
    staple_json_close(json, '}');
}

static void put_refresher(staple_json_t *json, const staple_report_t *report,
                          apr_pool_t *p)
{
    if (!report->has_refresher) {
        staple_json_string(json, "refresher", NULL);
        return;
    }
    staple_json_open(json, "refresher", '{');
    staple_json_string(json, "words", staple_report_refresher_text(report, p));
    put_numbers(json, staple_report_refresher_numbers, &report->refresher);
    staple_json_close(json, '}');
}

static void put_states(staple_json_t *json, const staple_report_t *report)
{
    int i;

    staple_json_open(json, "states", '{');
    for (i = 0; i < STAPLE_STATES; i++) {
        staple_json_number(json, staple_state_name((staple_state_e)i),
                           report->states[i]);
    }
    staple_json_close(json, '}');
}

/* Those that there were. */
static void put_failures(staple_json_t *json, const staple_report_t *report)
{
    unsigned int i;

    staple_json_open(json, "failures", '{');
    for (i = 0; i < STAPLE_CACHE_FAILURES; i++) {
        if (report->failures[i] && staple_state_failure_name(i)) {
            staple_json_number(json, staple_state_failure_name(i),
                               report->failures[i]);
        }
    }
    staple_json_close(json, '}');
}

static const char *failure_of(const staple_cache_state_t *exchange)
{
    return staple_state_failure_name(staple_state_failure(exchange));
}

static void put_advice(staple_json_t *json, const staple_state_advice_t *advice)
{
    staple_json_words(json, "who", advice->who);
    staple_json_words(json, "remedy", advice->remedy);
}

static void put_responder(staple_json_t *json,
                          const staple_responder_t *responder, apr_pool_t *p)
{
    const staple_cache_state_t *latest = &responder->latest;
    staple_state_advice_t advice
        = staple_state_advise_failure(&responder->failure, responder->url, p);

    staple_json_open(json, NULL, '{');
    staple_json_string(json, "url", responder->url);
    staple_json_truth(json, "is_down", staple_responder_is_down(responder));
    staple_json_words(json, "peer", staple_words_peer_text(latest, p));
    staple_json_string(json, "outcome", latest->last_attempt
                       ? staple_words_outcome_text(latest, p) : NULL);
    staple_json_string(json, "trouble", responder->numbers.failing
                       ? staple_report_trouble_text(responder, p) : NULL);
    staple_json_string(json, "failure", failure_of(&responder->failure));
    put_advice(json, &advice);
    put_numbers(json, staple_report_responder_numbers, &responder->numbers);
    staple_json_close(json, '}');
}

static void put_responders(staple_json_t *json, const staple_report_t *report,
                           apr_pool_t *p)
{
    apr_pool_t *p_row;
    int i;

    apr_pool_create(&p_row, p);
    staple_json_open(json, "responders", '[');
    for (i = 0; i < report->responders->nelts; i++) {
        put_responder(json, &APR_ARRAY_IDX(report->responders, i,
                                           staple_responder_t), p_row);
        apr_pool_clear(p_row);
    }
    staple_json_close(json, ']');
    apr_pool_destroy(p_row);
}

void staple_report_json_start(staple_json_t *json,
                              const staple_report_t *report, apr_pool_t *p)
{
    staple_json_open(json, NULL, '{');
    staple_json_number(json, "format", FORMAT);
    staple_json_string(json, "module", "mod_staple/" STAPLE_VERSION);
    staple_json_string(json, "source", report->source);
    staple_json_string(json, "server", report->server);
    staple_json_string(json, "host", report->host);
    staple_json_moment(json, "time", report->now);
    staple_json_string(json, "summary", staple_report_summary(report, p));
    staple_json_string(json, "severity", staple_severity_name(
                           staple_state_severity(staple_report_worst(report))));
    staple_json_string(json, "ring_file", report->ring_path);
    staple_json_moment(json, "ring_written", report->ring_written);
    put_refresher(json, report, p);
    put_share(json, report, p);
    put_states(json, report);
    put_failures(json, report);
    put_numbers(json, staple_report_server_numbers, &report->numbers);
    put_responders(json, report, p);
    staple_json_open(json, "certificates", '[');
}

void staple_report_json_end(staple_json_t *json)
{
    staple_json_close(json, ']');
    staple_json_close(json, '}');
}

/* ----- a certificate ----- */

static void put_identity(staple_json_t *json, const staple_cert_t *cert)
{
    staple_json_string(json, "subject", cert ? cert->subject_dn : NULL);
    staple_json_string(json, "issuer", cert ? cert->issuer_dn : NULL);
    staple_json_string(json, "key_type", cert ? cert->key_type : NULL);
}

/* Of a certificate that nobody has shown the ring knows one name. */
static void put_hosts(staple_json_t *json, const staple_view_t *view)
{
    if (view->cert && view->cert->hosts->nelts) {
        staple_json_strings(json, "hosts", view->cert->hosts);
        return;
    }
    staple_json_open(json, "hosts", '[');
    if (*view->host) {
        staple_json_string(json, NULL, view->host);
    }
    staple_json_close(json, ']');
}

static void put_urls(staple_json_t *json, const staple_cert_t *cert)
{
    if (cert) {
        staple_json_strings(json, "responders", cert->urls);
        return;
    }
    staple_json_open(json, "responders", '[');
    staple_json_close(json, ']');
}

static void put_lines(staple_json_t *json, const staple_view_t *view,
                      apr_pool_t *p)
{
    const apr_array_header_t *lines = staple_report_dissect(view->der,
                                                            view->der_len, p);
    int i;

    staple_json_open(json, "lines", '[');
    for (i = 0; i < lines->nelts; i++) {
        const staple_response_line_t *line = &APR_ARRAY_IDX(lines, i,
                                                     staple_response_line_t);

        staple_json_open(json, NULL, '{');
        staple_json_string(json, "name", line->name);
        staple_json_string(json, "value", line->value);
        staple_json_close(json, '}');
    }
    staple_json_close(json, ']');
}

/* What a response that was read says of itself. */
static void put_contents(staple_json_t *json,
                         const staple_report_response_t *response,
                         const staple_cert_numbers_t *numbers)
{
    staple_json_words(json, "serial", response->serial);
    staple_json_string(json, "responder", response->responder);
    staple_json_string(json, "signature", response->algorithm);
    staple_json_moment(json, "produced", response->produced_at);
    staple_json_moment(json, "revoked", numbers->revoked);
    staple_json_string(json, "reason", numbers->revoked
                       ? staple_ocsp_crl_reason_text(
                             (int)numbers->revoked_reason)
                       : NULL);
}

static void put_response(staple_json_t *json, const staple_view_t *view,
                         staple_report_depth_e depth, apr_pool_t *p)
{
    const staple_report_response_t *response = view->response;

    if (!response) {
        response = staple_report_read_response(view, p);
    }
    staple_json_open(json, "response", '{');
    staple_json_number(json, "bytes", (apr_int64_t)view->der_len);
    staple_json_string(json, "status", staple_ocsp_status_text(
                           (staple_ocsp_status_e)view->meta.status));
    staple_json_string(json, "judgement", view->is_judged
                       ? staple_ocsp_reason_text(view->reason) : NULL);
    if (response) {
        put_contents(json, response, &view->numbers);
    }
    if (depth == STAPLE_REPORT_LINES) {
        put_lines(json, view, p);
    }
    staple_json_close(json, '}');
}

void staple_report_json_cert(staple_json_t *json, const staple_view_t *view,
                             staple_report_depth_e depth, apr_pool_t *p_row)
{
    staple_json_open(json, NULL, '{');
    staple_json_string(json, "state", staple_state_name(view->state));
    staple_json_string(json, "severity", staple_severity_name(
                           staple_state_severity(view->state)));
    staple_json_words(json, "cause", view->cause);
    staple_json_string(json, "failure", failure_of(&view->exchange));
    put_advice(json, &view->advice);
    staple_json_string(json, "id", staple_report_id_text(view->id, p_row));
    staple_json_string(json, "name", view->name);
    staple_json_words(json, "serial", view->serial);
    put_identity(json, view->cert);
    staple_json_truth(json, "is_ca", view->traits.is_of_chain);
    put_hosts(json, view);
    put_urls(json, view->cert);
    staple_json_words(json, "outcome", view->outcome);
    staple_json_words(json, "peer", view->peer);
    staple_json_string(json, "url", view->url);
    staple_json_number(json, "url_number",
                       staple_words_url_number(&view->exchange));
    put_numbers(json, staple_report_cert_numbers, &view->numbers);
    if (depth > STAPLE_REPORT_NO_RESPONSE && view->der) {
        put_response(json, view, depth, p_row);
    }
    staple_json_close(json, '}');
}
