/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * ?json: everything for programs. docs/status.schema.json describes it and
 * docs/status.md says how it may change: "format" goes up when a member
 * changes its meaning or goes, not when one is added.
 */

#include "status_int.h"

#include <apr_strings.h>

#define FORMAT 1

/* Where a value is put, and what separates it from the one before. */
typedef struct json_t {
    request_rec *r;
    apr_pool_t *p; /* a row's */
    int is_first;  /* in its object or array */
} json_t;

static void put_string(const json_t *json, const char *text)
{
    char escaped[8];

    ap_rputc('"', json->r);
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;

        if (c < 0x20 || c > 0x7e || c == '"' || c == '\\') {
            apr_snprintf(escaped, sizeof(escaped), "\\u%04x", c);
            ap_rputs(escaped, json->r);
        }
        else {
            ap_rputc(c, json->r);
        }
    }
    ap_rputc('"', json->r);
}

static void next(json_t *json)
{
    if (!json->is_first) {
        ap_rputs(",\n", json->r);
    }
    json->is_first = 0;
}

static void name(json_t *json, const char *key)
{
    next(json);
    put_string(json, key);
    ap_rputs(": ", json->r);
}

static void open_with(json_t *json, const char *bracket)
{
    ap_rputs(bracket, json->r);
    json->is_first = 1;
}

static void close_with(json_t *json, const char *bracket)
{
    ap_rputs(bracket, json->r);
    json->is_first = 0;
}

/* A string, or null where there is none. */
static void member(json_t *json, const char *key, const char *text)
{
    name(json, key);
    if (text) {
        put_string(json, text);
    }
    else {
        ap_rputs("null", json->r);
    }
}

static void member_unless_empty(json_t *json, const char *key,
                                const char *text)
{
    member(json, key, *text ? text : NULL);
}

static void put_strings(json_t *json, const char *key,
                        const apr_array_header_t *texts)
{
    int i;

    name(json, key);
    open_with(json, "[");
    for (i = 0; i < texts->nelts; i++) {
        next(json);
        put_string(json, APR_ARRAY_IDX(texts, i, const char *));
    }
    close_with(json, "]");
}

/* Seconds, or null where there is no span. */
static void put_span(json_t *json, const char *key, apr_interval_time_t span)
{
    name(json, key);
    if (span < 0) {
        ap_rputs("null", json->r);
        return;
    }
    ap_rprintf(json->r, "%" APR_TIME_T_FMT ".%03d", apr_time_sec(span),
               (int)apr_time_msec(span));
}

static void put_numbers(json_t *json, const number_t *number,
                        const void *numbers)
{
    name(json, "numbers");
    open_with(json, "{");
    for (; number->name; number++) {
        apr_int64_t value = number_of(number, numbers);

        if (number->unit == UNIT_TIME) {
            member(json, number->name, staple_words_iso_text(value, json->p));
        }
        else if (number->unit == UNIT_SPAN) {
            put_span(json, number->name, value);
        }
        else {
            name(json, number->name);
            ap_rprintf(json->r, "%" APR_INT64_T_FMT, value);
        }
    }
    close_with(json, "}");
}

static void put_response(json_t *json, const view_t *view)
{
    const apr_array_header_t *lines
        = staple_status_dissect(view->der, view->der_len, json->p);
    int i;

    name(json, "response");
    open_with(json, "[");
    for (i = 0; i < lines->nelts; i++) {
        const response_line_t *line = &APR_ARRAY_IDX(lines, i,
                                                     response_line_t);

        next(json);
        open_with(json, "{");
        member(json, "name", line->name);
        member(json, "value", line->value);
        close_with(json, "}");
    }
    close_with(json, "]");
}

static void put_cert(json_t *json, const view_t *view, int with_response)
{
    const staple_cert_t *cert = view->cert;

    next(json);
    open_with(json, "{");
    member(json, "verdict", staple_status_verdict_name(view->verdict));
    member_unless_empty(json, "cause", view->cause);
    member_unless_empty(json, "fault", view->fault);
    member_unless_empty(json, "advice", view->advice);
    member(json, "id", staple_status_id_text(cert, json->p));
    member(json, "name", cert->name);
    member(json, "subject", cert->subject_dn);
    member(json, "issuer", cert->issuer_dn);
    member(json, "serial", cert->serial);
    member(json, "key_type", cert->key_type);
    put_strings(json, "hosts", cert->hosts);
    put_strings(json, "responders", cert->urls);
    member_unless_empty(json, "outcome", view->outcome);
    member_unless_empty(json, "peer", view->peer);
    member(json, "url", view->url);
    put_numbers(json, staple_status_cert_numbers, &view->numbers);
    if (with_response && view->der) {
        put_response(json, view);
    }
    close_with(json, "}");
}

static void put_certs(json_t *json, const moment_t *moment,
                      const staple_cert_t *only)
{
    view_t view;
    int i;

    name(json, "certificates");
    open_with(json, "[");
    for (i = 0; !only && i < moment->rows_count; i++) {
        staple_status_look(moment, moment->rows[i].cert, &view, json->p);
        put_cert(json, &view, 0);
        apr_pool_clear(json->p);
    }
    if (only) {
        staple_status_look(moment, only, &view, json->p);
        put_cert(json, &view, 1);
    }
    close_with(json, "]");
}

static void put_responders(json_t *json, const moment_t *moment)
{
    int i;

    name(json, "responders");
    open_with(json, "[");
    for (i = 0; i < moment->responders->nelts; i++) {
        const responder_t *responder = &APR_ARRAY_IDX(moment->responders, i,
                                                      responder_t);
        const staple_cache_state_t *latest = &responder->latest;

        next(json);
        open_with(json, "{");
        member(json, "url", responder->url);
        member_unless_empty(json, "peer",
                            staple_words_peer_text(latest, json->p));
        member(json, "outcome", latest->last_attempt
               ? staple_words_outcome_text(latest, json->p) : NULL);
        put_numbers(json, staple_status_responder_numbers,
                    &responder->numbers);
        close_with(json, "}");
        apr_pool_clear(json->p);
    }
    close_with(json, "]");
}

static void put_share(json_t *json, const moment_t *moment)
{
    name(json, "share_state");
    if (!moment->share) {
        ap_rputs("null", json->r);
        return;
    }
    open_with(json, "{");
    member(json, "words", staple_status_share_text(moment, json->p));
    member(json, "error", moment->share_error);
    put_numbers(json, staple_status_share_numbers, &moment->share_numbers);
    close_with(json, "}");
}

static void put_verdicts(json_t *json, const moment_t *moment)
{
    int i;

    name(json, "verdicts");
    open_with(json, "{");
    for (i = 0; i < VERDICTS; i++) {
        name(json, staple_status_verdict_name((verdict_e)i));
        ap_rprintf(json->r, "%d", moment->verdicts[i]);
    }
    close_with(json, "}");
}

void staple_status_put_json(request_rec *r, const moment_t *moment,
                            const staple_cert_t *only)
{
    json_t json = { r, NULL, 1 };

    apr_pool_create(&json.p, r->pool);
    open_with(&json, "{");
    name(&json, "format");
    ap_rprintf(r, "%d", FORMAT);
    member(&json, "module", "mod_staple/" STAPLE_VERSION);
    member(&json, "server", ap_get_server_description());
    member(&json, "host", r->server->server_hostname);
    member(&json, "time", staple_words_iso_text(moment->now, json.p));
    member(&json, "summary", staple_status_summary(moment, json.p));
    member(&json, "ring_file", moment->conf->ring_path);
    member(&json, "share", moment->conf->share);
    put_share(&json, moment);
    put_verdicts(&json, moment);
    put_numbers(&json, staple_status_server_numbers, &moment->numbers);
    put_responders(&json, moment);
    put_certs(&json, moment, only);
    close_with(&json, "}\n");
    apr_pool_destroy(json.p);
}
