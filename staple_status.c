/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The status page's door: by which method it is asked, and which view answers.
 *
 * The one idea: a GET reads and a POST acts. A request is understood completely
 * or refused, and nothing of it reaches a page but escaped.
 */

#include "status/status_int.h"

#include <http_core.h>
#include <http_protocol.h>
#include <http_request.h>
#include <apr_general.h>
#include <apr_lib.h>
#include <apr_strings.h>

#include "staple_text.h"

#define TOKEN_BYTES 16

const char *staple_status_make_token(apr_pool_t *p)
{
    unsigned char bytes[TOKEN_BYTES];

    return apr_generate_random_bytes(bytes, sizeof(bytes))
           ? NULL : staple_text_hex(bytes, sizeof(bytes), p);
}

/* ----- answers that are words ----- */

void staple_status_set_headers(request_rec *r, const char *type)
{
    ap_set_content_type(r, type);
    apr_table_setn(r->headers_out, "Cache-Control", "no-store");
    apr_table_setn(r->headers_out, "X-Content-Type-Options", "nosniff");
    /* With no-referrer a browser would send "Origin: null" with our forms. */
    apr_table_setn(r->headers_out, "Referrer-Policy", "same-origin");
    apr_table_setn(r->headers_out, "Content-Security-Policy",
                   staple_status_policy(r->pool));
}

/* Plain text, so nothing in it is anything but text. */
int staple_status_answer(request_rec *r, int status, const char *text)
{
    r->status = status;
    staple_status_set_headers(r, "text/plain; charset=utf-8");
    if (!r->header_only) {
        ap_rvputs(r, text, "\n", NULL);
    }
    return OK;
}

static int refuse_query(request_rec *r, const char *wrong)
{
    return staple_status_answer(r, HTTP_BAD_REQUEST, apr_pstrcat(
        r->pool, "The query was not understood: ",
        staple_text_string(wrong, r->pool), ".\n\nThere is:\n",
        staple_status_queries(r->pool), NULL));
}

int staple_status_no_actions(request_rec *r)
{
    return staple_status_answer(r, HTTP_FORBIDDEN, "Actions are switched off; "
                                "StapleStatusActions on allows them, and never "
                                "where a .htaccess file has a part in the "
                                "request.");
}

int staple_status_no_such_certificate(request_rec *r)
{
    return staple_status_answer(r, HTTP_NOT_FOUND, "There is no certificate "
                                "with that id. It may have been replaced; the "
                                "page without a query lists those that there "
                                "are.");
}

/* ----- the views ----- */

static int send_der(request_rec *r, const moment_t *moment,
                    const staple_cert_t *cert)
{
    staple_view_t view;

    if (!cert) {
        return staple_status_no_such_certificate(r);
    }
    staple_status_read(moment, cert, &view);
    if (!view.der) {
        return staple_status_answer(r, HTTP_NOT_FOUND, "No response is held "
                                    "for that certificate.");
    }
    staple_status_set_headers(r, "application/ocsp-response");
    apr_table_setn(r->headers_out, "Content-Disposition",
                   apr_psprintf(r->pool, "attachment; filename=\"%s.der\"",
                                cert->serial));
    ap_set_content_length(r, (apr_off_t)view.der_len);
    if (!r->header_only) {
        ap_rwrite(view.der, (int)view.der_len, r);
    }
    return OK;
}

static int wants_open_metrics(request_rec *r)
{
    const char *accept = apr_table_get(r->headers_in, "Accept");

    apr_table_mergen(r->headers_out, "Vary", "Accept");
    return accept && ap_strstr_c(accept, "application/openmetrics-text");
}

static int send_metrics(request_rec *r, const moment_t *moment,
                        const query_t *query)
{
    int is_open = wants_open_metrics(r);

    staple_status_set_headers(r, is_open
        ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
        : "text/plain; version=0.0.4; charset=utf-8");
    if (!r->header_only) {
        staple_status_put_metrics(r, moment, query, is_open);
    }
    return OK;
}

/* For scripts, which have no form to take it from. */
static int send_token(request_rec *r, const staple_status_conf_t *conf)
{
    if (!conf->may_act || !conf->token) {
        return staple_status_no_actions(r);
    }
    return staple_status_answer(r, HTTP_OK, conf->token);
}

static int send_html(request_rec *r, const moment_t *moment,
                     const staple_cert_t *cert, const query_t *query)
{
    staple_status_set_headers(r, "text/html; charset=utf-8");
    if (r->header_only) {
        return OK;
    }
    if (cert) {
        staple_status_put_cert(r, moment, cert, query);
    }
    else {
        staple_status_put_html(r, moment, query);
    }
    return OK;
}

static void write_bytes(void *baton, const char *bytes, apr_size_t len)
{
    ap_rwrite(bytes, (int)len, baton);
}

static void put_json_certs(staple_json_t *json, const moment_t *moment,
                           const staple_cert_t *only, apr_pool_t *p_row)
{
    staple_view_t view;
    int i;

    for (i = 0; !only && i < moment->rows_count; i++) {
        staple_status_describe(moment, moment->rows[i].cert, &view, p_row);
        staple_report_json_cert(json, &view, STAPLE_REPORT_NO_RESPONSE, p_row);
        apr_pool_clear(p_row);
    }
    if (only) {
        staple_status_describe(moment, only, &view, p_row);
        staple_report_json_cert(json, &view, STAPLE_REPORT_LINES, p_row);
    }
}

static int send_json(request_rec *r, const moment_t *moment,
                     const staple_cert_t *only)
{
    staple_json_t json;
    apr_pool_t *p_row;

    staple_status_set_headers(r, "application/json");
    if (r->header_only) {
        return OK;
    }
    apr_pool_create(&p_row, r->pool);
    staple_json_start(&json, write_bytes, r);
    staple_report_json_start(&json, &moment->report, r->pool);
    put_json_certs(&json, moment, only, p_row);
    staple_report_json_end(&json);
    apr_pool_destroy(p_row);
    return OK;
}

static int send_auto(request_rec *r, const moment_t *moment)
{
    staple_status_set_headers(r, "text/plain; charset=utf-8");
    if (!r->header_only) {
        staple_status_put_auto(r, moment);
    }
    return OK;
}

/* ----- which of them ----- */

static int send_view(request_rec *r, const moment_t *moment,
                     const staple_cert_t *cert, const query_t *query)
{
    switch (query->show) {
    case SHOW_DER:
        return send_der(r, moment, cert);
    case SHOW_METRICS:
        return send_metrics(r, moment, query);
    case SHOW_JSON:
        return send_json(r, moment, cert);
    case SHOW_AUTO:
        return send_auto(r, moment);
    case SHOW_TOKEN:
        return send_token(r, moment->conf);
    case SHOW_HTML:
        break;
    }
    if (!cert && query->serial && moment->rows_count == 1) {
        cert = moment->rows[0].cert;
    }
    return send_html(r, moment, cert, query);
}

static int handle_get(request_rec *r, const staple_status_conf_t *conf)
{
    const staple_cert_t *cert = NULL;
    query_t query;
    const char *wrong = staple_status_read_query(r, &query);

    if (wrong) {
        return refuse_query(r, wrong);
    }
    if (query.id) {
        cert = staple_status_find(conf, query.id);
        if (!cert) {
            return staple_status_no_such_certificate(r);
        }
    }
    return send_view(r, staple_status_gather(r, conf, &query), cert, &query);
}

/* Whether a .htaccess file has a part in the request. It may be a customer's,
 * who has made a page of his own of what is everybody's. */
static int has_htaccess(const request_rec *r)
{
    const struct htaccess_result *at = r->htaccess;

    while (at && !at->htaccess) { /* a directory without one is in it, too */
        at = at->next;
    }
    return at != NULL;
}

int staple_status_handle(request_rec *r, const staple_status_conf_t *conf)
{
    staple_status_conf_t here = *conf;

    here.may_act = conf->may_act && !has_htaccess(r);
    ap_allow_methods(r, REPLACE_ALLOW, "GET", "POST", NULL);
    if (r->method_number == M_GET) {
        return handle_get(r, &here);
    }
    return r->method_number == M_POST ? staple_status_act(r, &here)
                                      : HTTP_METHOD_NOT_ALLOWED;
}
