/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The status page's door: what is asked, by which method, and what may be done.
 *
 * The one idea: a request is understood completely or refused with the list of
 * what there is; nothing of it is guessed, and nothing of it reaches a page but
 * escaped. A GET reads. A POST acts, and only where the configuration allows
 * it, a page of ours sent it (Origin, Sec-Fetch-Site), and it brings back
 * the token that such a page carries, which no other site can read.
 */

#include "status/status_int.h"

#include <http_log.h>
#include <http_request.h>
#include <mod_status.h>
#include <util_script.h>
#include <apr_general.h>
#include <apr_lib.h>
#include <apr_strings.h>

#include "staple_text.h"

APLOG_USE_MODULE(staple);

#define TOKEN_BYTES 16
#define FORM_BYTES_MAX 4096
#define FORM_FIELDS_MAX 8

const char *staple_status_make_token(apr_pool_t *p)
{
    unsigned char bytes[TOKEN_BYTES];

    return apr_generate_random_bytes(bytes, sizeof(bytes))
           ? NULL : staple_text_hex(bytes, sizeof(bytes), p);
}

/* ----- the query ----- */

#define IN(show) (1 << (show))

/* What a query may have, and with which view. */
static const struct {
    const char *key;
    int views;
    int has_value;
    const char *meaning;
} keys[] = {
    { "json", IN(SHOW_JSON), 0, "everything as JSON" },
    { "metrics", IN(SHOW_METRICS), 0, "OpenMetrics, for Prometheus" },
    { "auto", IN(SHOW_AUTO), 0, "lines for scripts" },
    { "der", IN(SHOW_DER), 1, "ID: the response of a certificate, as DER" },
    { "id", IN(SHOW_HTML) | IN(SHOW_JSON), 1, "ID: one certificate" },
    { "serial", IN(SHOW_HTML) | IN(SHOW_JSON) | IN(SHOW_AUTO), 1,
      "HEX: certificates with that serial number" },
    { "q", IN(SHOW_HTML) | IN(SHOW_JSON) | IN(SHOW_AUTO), 1,
      "WORDS: certificates in whose names, hosts, serial, responders or "
      "verdict they occur" },
    { "show", IN(SHOW_HTML) | IN(SHOW_JSON) | IN(SHOW_AUTO), 1,
      "attention or all" },
    { "page", IN(SHOW_HTML), 1, "NUMBER: of the page, from 1" },
    { "done", IN(SHOW_HTML), 1, "refresh or forget: what was just done" }
};

#define KEYS (int)(sizeof(keys) / sizeof(*keys))

/* The values given, by key; NULL: not given. */
typedef const char *given_t[KEYS];

/** @return NULL, or what is wrong */
static const char *split_query(char *args, given_t given, apr_pool_t *p)
{
    char *state = NULL, *item;
    int i;

    for (item = apr_strtok(args, "&", &state); item;
         item = apr_strtok(NULL, "&", &state)) {
        char *value = strchr(item, '=');

        if (value) {
            *value++ = '\0';
        }
        for (i = 0; i < KEYS && strcmp(item, keys[i].key); i++) {
            continue;
        }
        if (i == KEYS) {
            return apr_psprintf(p, "there is no '%s'", item);
        }
        if (given[i]) {
            return apr_psprintf(p, "'%s' is given twice", item);
        }
        /* Prometheus writes "metrics=" for a parameter without a value. */
        if (keys[i].has_value ? !value : value && *value) {
            return apr_psprintf(p, "'%s' takes %s value", item,
                                keys[i].has_value ? "a" : "no");
        }
        if (value && ap_unescape_urlencoded(value)) {
            return apr_psprintf(p, "the value of '%s' is badly encoded", item);
        }
        given[i] = value ? value : "";
    }
    return NULL;
}

static const char *value_of(const given_t given, const char *key)
{
    int i;

    for (i = 0; i < KEYS; i++) {
        if (!strcmp(keys[i].key, key)) {
            return given[i];
        }
    }
    return NULL;
}

static const char *check_views(const given_t given, show_e show,
                               apr_pool_t *p)
{
    int i;

    for (i = 0; i < KEYS; i++) {
        if (given[i] && !(keys[i].views & IN(show))) {
            return apr_psprintf(p, "'%s' does not go with the rest",
                                keys[i].key);
        }
    }
    return NULL;
}

static const char *read_page(const char *text, int *page)
{
    apr_size_t len = strlen(text);

    if (!len || len > 6 || strspn(text, "0123456789") != len) {
        return "'page' is no number";
    }
    *page = atoi(text);
    return *page ? NULL : "pages are counted from 1";
}

static show_e view_of(const given_t given)
{
    return value_of(given, "json") ? SHOW_JSON
           : value_of(given, "metrics") ? SHOW_METRICS
           : value_of(given, "auto") ? SHOW_AUTO
           : value_of(given, "der") ? SHOW_DER : SHOW_HTML;
}

/** @return NULL, or what is wrong */
static const char *read_query(request_rec *r, query_t *query)
{
    char *args = apr_pstrdup(r->pool, r->args ? r->args : "");
    given_t given = { NULL };
    const char *wrong = split_query(args, given, r->pool);
    const char *show, *page;

    memset(query, 0, sizeof(*query));
    query->page = 1;
    query->words = value_of(given, "q");
    query->words = query->words ? query->words : "";
    query->show = view_of(given);
    query->id = value_of(given, query->show == SHOW_DER ? "der" : "id");
    query->serial = value_of(given, "serial");
    query->done = value_of(given, "done");
    if (!wrong) {
        wrong = check_views(given, query->show, r->pool);
    }
    show = value_of(given, "show");
    if (!wrong && show && strcmp(show, "attention") && strcmp(show, "all")) {
        wrong = "'show' is neither attention nor all";
    }
    query->only_attention = show && !strcmp(show, "attention");
    page = value_of(given, "page");
    if (!wrong && page) {
        wrong = read_page(page, &query->page);
    }
    if (!wrong && query->done && strcmp(query->done, "refresh")
        && strcmp(query->done, "forget")) {
        wrong = "'done' is neither refresh nor forget";
    }
    return wrong;
}

/* ----- answers that are words ----- */

static void set_headers(request_rec *r, const char *type)
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
static int answer(request_rec *r, int status, const char *text)
{
    r->status = status;
    set_headers(r, "text/plain; charset=utf-8");
    if (!r->header_only) {
        ap_rvputs(r, text, "\n", NULL);
    }
    return OK;
}

static int refuse_query(request_rec *r, const char *wrong)
{
    const char *text = apr_pstrcat(r->pool, "The query was not understood: ",
                                   staple_text_string(wrong, r->pool),
                                   ".\n\nThere is:\n", NULL);
    int i;

    for (i = 0; i < KEYS; i++) {
        text = apr_psprintf(r->pool, "%s  %-8s %s\n", text, keys[i].key,
                            keys[i].meaning);
    }
    return answer(r, HTTP_BAD_REQUEST, text);
}

static int no_such_certificate(request_rec *r)
{
    return answer(r, HTTP_NOT_FOUND, "There is no certificate with that id. "
                  "It may have been replaced; the page without a query "
                  "lists those that there are.");
}

/* ----- actions ----- */

static const char *field_of(const apr_array_header_t *form, const char *name,
                            apr_pool_t *p)
{
    char *text = "";
    apr_size_t size;
    apr_off_t len;
    int i;

    for (i = 0; i < form->nelts; i++) {
        ap_form_pair_t *pair = &APR_ARRAY_IDX(form, i, ap_form_pair_t);

        if (!strcmp(pair->name, name)
            && !apr_brigade_length(pair->value, 1, &len)) {
            size = (apr_size_t)len;
            text = apr_palloc(p, size + 1);
            apr_brigade_flatten(pair->value, text, &size);
            text[size] = '\0';
        }
    }
    return text;
}

/* Browsers say where a form comes from; what is not a browser need not. */
static int is_from_here(request_rec *r)
{
    const char *site = apr_table_get(r->headers_in, "Sec-Fetch-Site");
    const char *origin = apr_table_get(r->headers_in, "Origin");
    const char *host = apr_table_get(r->headers_in, "Host");
    const char *at;

    if (site && strcmp(site, "same-origin")) {
        return 0;
    }
    if (!origin) {
        return 1;
    }
    at = strstr(origin, "://");
    return at && host && !ap_cstr_casecmp(at + 3, host);
}

/* In a time that says nothing about where they differ. */
static int same_token(const char *a, const char *b)
{
    apr_size_t len = strlen(a), i;
    unsigned char differ = 0;

    if (!len || strlen(b) != len) {
        return 0;
    }
    for (i = 0; i < len; i++) {
        differ |= (unsigned char)(a[i] ^ b[i]);
    }
    return !differ;
}

static int see_other(request_rec *r, const staple_cert_t *cert,
                     const char *action)
{
    apr_table_setn(r->headers_out, "Location",
                   apr_pstrcat(r->pool, "?id=",
                               staple_status_id_text(cert, r->pool), "&done=",
                               action, NULL));
    return answer(r, HTTP_SEE_OTHER, "Done.");
}

static int do_action(request_rec *r, const staple_status_conf_t *conf,
                     const apr_array_header_t *form)
{
    const char *action = field_of(form, "action", r->pool);
    int is_forget = !strcmp(action, "forget");
    const staple_cert_t *cert
        = staple_status_find(conf, field_of(form, "id", r->pool));
    apr_status_t rv;

    if (!is_forget && strcmp(action, "refresh")) {
        return answer(r, HTTP_BAD_REQUEST, "The action is neither refresh nor "
                      "forget.");
    }
    if (!cert) {
        return no_such_certificate(r);
    }
    if (!conf->cache || cert->slot < 0) {
        return answer(r, HTTP_CONFLICT, "No responder is asked about that "
                      "certificate.");
    }
    rv = staple_cache_request(conf->cache, cert->slot, is_forget
                              ? STAPLE_CACHE_FORGET : STAPLE_CACHE_REFRESH);
    if (rv) {
        return answer(r, HTTP_SERVICE_UNAVAILABLE, "The refresher has too much "
                      "to do already; try again in a moment.");
    }
    ap_log_rerror(APLOG_MARK, APLOG_NOTICE, 0, r, "STP0301: %s (serial %s): "
                  "%s on the status page%s%s", cert->name, cert->serial,
                  is_forget ? "its response is dropped" : "a new response is "
                  "asked for", r->user ? " by " : "",
                  r->user ? staple_text_string(r->user, r->pool) : "");
    return see_other(r, cert, action);
}

static int handle_post(request_rec *r, const staple_status_conf_t *conf)
{
    apr_array_header_t *form = NULL;
    int rv;

    if (!conf->may_act) {
        return answer(r, HTTP_FORBIDDEN, "Actions are switched off; "
                      "StapleStatusActions on allows them.");
    }
    if (!is_from_here(r)) {
        return answer(r, HTTP_FORBIDDEN, "This form was sent by a page of "
                      "another site.");
    }
    rv = ap_parse_form_data(r, NULL, &form, FORM_FIELDS_MAX, FORM_BYTES_MAX);
    if (rv) {
        return rv;
    }
    if (!form || !conf->token
        || !same_token(conf->token, field_of(form, "token", r->pool))) {
        return answer(r, HTTP_FORBIDDEN, "This form is not from the page of "
                      "this server since its last restart; load the page anew "
                      "and try again.");
    }
    return do_action(r, conf, form);
}

/* ----- the views ----- */

static int send_der(request_rec *r, const moment_t *moment,
                    const staple_cert_t *cert)
{
    view_t view;

    staple_status_look(moment, cert, &view, r->pool);
    if (!view.der) {
        return answer(r, HTTP_NOT_FOUND, "No response is held for that "
                      "certificate.");
    }
    set_headers(r, "application/ocsp-response");
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

static int send_metrics(request_rec *r, const moment_t *moment)
{
    int is_open = wants_open_metrics(r);

    set_headers(r, is_open ? "application/openmetrics-text; version=1.0.0; "
                             "charset=utf-8"
                           : "text/plain; version=0.0.4; charset=utf-8");
    if (!r->header_only) {
        staple_status_put_metrics(r, moment, is_open);
    }
    return OK;
}

static int send_html(request_rec *r, const moment_t *moment,
                     const staple_cert_t *cert, const query_t *query)
{
    set_headers(r, "text/html; charset=utf-8");
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

static int handle_get(request_rec *r, const staple_status_conf_t *conf)
{
    const staple_cert_t *cert = NULL;
    const moment_t *moment;
    query_t query;
    const char *wrong = read_query(r, &query);

    if (wrong) {
        return refuse_query(r, wrong);
    }
    if (query.id) {
        cert = staple_status_find(conf, query.id);
        if (!cert) {
            return no_such_certificate(r);
        }
    }
    moment = staple_status_gather(conf, &query, r->pool);
    if (!cert && query.serial && query.show == SHOW_HTML
        && moment->rows_count == 1) {
        cert = moment->rows[0].cert;
    }
    switch (query.show) {
    case SHOW_DER:
        return send_der(r, moment, cert);
    case SHOW_METRICS:
        return send_metrics(r, moment);
    case SHOW_JSON:
        set_headers(r, "application/json");
        break;
    case SHOW_AUTO:
        set_headers(r, "text/plain; charset=utf-8");
        break;
    case SHOW_HTML:
        return send_html(r, moment, cert, &query);
    }
    if (r->header_only) {
        return OK;
    }
    if (query.show == SHOW_JSON) {
        staple_status_put_json(r, moment, cert);
    }
    else {
        staple_status_put_auto(r, moment);
    }
    return OK;
}

int staple_status_handle(request_rec *r, const staple_status_conf_t *conf)
{
    ap_allow_methods(r, REPLACE_ALLOW, "GET", "POST", NULL);
    if (r->method_number == M_GET) {
        return handle_get(r, conf);
    }
    return r->method_number == M_POST ? handle_post(r, conf)
                                      : HTTP_METHOD_NOT_ALLOWED;
}
