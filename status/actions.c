/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What a POST may do: ask for a new response, or drop the one that is held.
 *
 * The one idea: an action is carried out only where the configuration allows
 * it, a page of ours sent it (Origin, Sec-Fetch-Site), and it brings back the
 * token that such a page carries, which no other site can read. One token is
 * good for all forms.
 */

#include "status_int.h"

#include <http_log.h>
#include <http_request.h>
#include <util_script.h>
#include <apr_strings.h>

#include "staple_text.h"

APLOG_USE_MODULE(staple);

#define FORM_BYTES_MAX 4096
#define FORM_FIELDS_MAX 8

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

/* Whether clients would refuse the site once its response is dropped. */
static int is_last_resort(request_rec *r, const staple_status_conf_t *conf,
                          const staple_cert_t *cert)
{
    staple_view_t view;

    staple_status_read(staple_status_open(r, conf), cert, &view);
    return cert->is_must_staple && view.is_stapled;
}

static int see_other(request_rec *r, const staple_cert_t *cert,
                     const char *action)
{
    apr_table_setn(r->headers_out, "Location",
                   apr_pstrcat(r->pool, "?id=",
                               staple_status_id_text(cert, r->pool), "&done=",
                               action, NULL));
    return staple_status_answer(r, HTTP_SEE_OTHER, "Done.");
}

static void log_action(request_rec *r, const staple_cert_t *cert,
                       int is_forget)
{
    ap_log_rerror(APLOG_MARK, APLOG_NOTICE, 0, r, "STP0301: %s (serial %s): "
                  "%s on the status page%s%s", cert->name, cert->serial,
                  is_forget ? "dropping its response was requested"
                            : "a new response was requested",
                  r->user ? " by " : "",
                  r->user ? staple_text_string(r->user, r->pool) : "");
}

/* Without force the refresher keeps the last response of a must-staple
 * certificate, which may have been verified since is_last_resort looked. */
static apr_uint32_t what_to_ask(int is_forget, int is_forced)
{
    if (!is_forget) {
        return STAPLE_CACHE_REFRESH;
    }
    return is_forced ? STAPLE_CACHE_FORGET | STAPLE_CACHE_FORCE
                     : STAPLE_CACHE_FORGET;
}

static int carry_out(request_rec *r, const staple_status_conf_t *conf,
                     const staple_cert_t *cert, apr_uint32_t what)
{
    int is_forget = what != STAPLE_CACHE_REFRESH;

    if (staple_cache_request(conf->cache, cert->slot, what)) {
        return staple_status_answer(r, HTTP_SERVICE_UNAVAILABLE, "The "
                                    "refresher has too much to do already; try "
                                    "again in a moment.");
    }
    log_action(r, cert, is_forget);
    return see_other(r, cert, is_forget ? "forget" : "refresh");
}

static int do_action(request_rec *r, const staple_status_conf_t *conf,
                     const apr_array_header_t *form)
{
    const char *action = field_of(form, "action", r->pool);
    int is_forget = !strcmp(action, "forget");
    int is_forced = !strcmp(field_of(form, "force", r->pool), "yes");
    const staple_cert_t *cert
        = staple_status_find(conf, field_of(form, "id", r->pool));

    if (!is_forget && strcmp(action, "refresh")) {
        return staple_status_answer(r, HTTP_BAD_REQUEST, "The action is "
                                    "neither refresh nor forget.");
    }
    if (!cert) {
        return staple_status_no_such_certificate(r);
    }
    if (!conf->cache || cert->slot < 0) {
        return staple_status_answer(r, HTTP_CONFLICT, "No responder is asked "
                                    "about that certificate.");
    }
    if (is_forget && !is_forced && is_last_resort(r, conf, cert)) {
        return staple_status_answer(r, HTTP_CONFLICT, "The certificate is "
                                    "must-staple and this is its last valid "
                                    "response: clients would refuse the site. "
                                    "Send force=yes to drop it all the same.");
    }
    return carry_out(r, conf, cert, what_to_ask(is_forget, is_forced));
}

int staple_status_act(request_rec *r, const staple_status_conf_t *conf)
{
    apr_array_header_t *form = NULL;
    int rv;

    if (!conf->may_act) {
        return staple_status_no_actions(r);
    }
    if (!is_from_here(r)) {
        return staple_status_answer(r, HTTP_FORBIDDEN, "This form was sent by "
                                    "a page of another site.");
    }
    rv = ap_parse_form_data(r, NULL, &form, FORM_FIELDS_MAX, FORM_BYTES_MAX);
    if (rv) {
        return rv;
    }
    if (!form || !conf->token
        || !same_token(conf->token, field_of(form, "token", r->pool))) {
        return staple_status_answer(r, HTTP_FORBIDDEN, "This form is not from "
                                    "the page of this server since its last "
                                    "restart; load the page anew and try "
                                    "again.");
    }
    return do_action(r, conf, form);
}
