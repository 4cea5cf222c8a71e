/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The status page, as plain text: a verdict for every certificate, until when
 * its staple is good, how the last exchange went and when the next is due.
 *
 * The one idea: everything shown is read from the ring, where the refresh of
 * whichever child leads has left it, so any child can answer.
 */

#include "staple_status.h"

#include <http_protocol.h>
#include <apr_strings.h>

#include "staple_refresh.h"

/* A certificate as it stands at one moment. */
typedef struct view_t {
    const staple_cert_t *cert;
    int is_stapled;            /* a valid response is served */
    staple_cache_meta_t meta;  /* of that response */
    apr_time_t until;          /* until when */
    staple_cache_state_t state;
} view_t;

static view_t look(const staple_cache_t *cache, const staple_cert_t *cert,
                   apr_time_t now, apr_pool_t *p)
{
    unsigned char *buf = apr_palloc(p, STAPLE_CACHE_DER_MAX);
    view_t view;
    apr_size_t len;

    memset(&view, 0, sizeof(view));
    view.cert = cert;
    if (!cache || cert->slot < 0) {
        return view;
    }
    if (staple_cache_read(cache, cert->slot, buf, STAPLE_CACHE_DER_MAX, &len,
                          &view.meta) == APR_SUCCESS
        && !(view.meta.flags & STAPLE_REFRESH_IS_ERROR)
        && staple_refresh_may_serve(&cert->policy, &view.meta, now)) {
        view.is_stapled = 1;
        view.until = staple_refresh_serve_until(&cert->policy, &view.meta);
    }
    staple_cache_state(cache, cert->slot, &view.state);
    return view;
}

static const char *time_text(apr_time_t t, apr_pool_t *p)
{
    char *text;

    if (!t) {
        return "-";
    }
    text = apr_palloc(p, APR_RFC822_DATE_LEN);
    apr_rfc822_date(text, t);
    return text;
}

static const char *verdict_text(const view_t *view)
{
    if (view->cert->scope != STAPLE_CERT_APPLIES) {
        return "not-applicable";
    }
    if (view->cert->slot < 0) {
        return "no-room";
    }
    if (!view->is_stapled) {
        return "missing";
    }
    if (view->meta.status == STAPLE_OCSP_REVOKED) {
        return "revoked";
    }
    return view->state.failing ? "stapled-failing" : "stapled";
}

static void put_cert(request_rec *r, const view_t *view, apr_pool_t *p)
{
    const staple_cert_t *cert = view->cert;

    ap_rprintf(r, "%s\t%s\tserial=%s\thosts=%s\t", verdict_text(view),
               cert->name, cert->serial,
               apr_array_pstrcat(p, cert->hosts, ','));
    if (cert->scope != STAPLE_CERT_APPLIES) {
        ap_rprintf(r, "because=%s\n", staple_cert_scope_text(cert->scope));
        return;
    }
    ap_rprintf(r, "until=%s\tnext=%s\tlast=%s\toutcome=%s\tattempts=%u\t"
               "failures=%u\tpeer=%s\n",
               time_text(view->until, p), time_text(view->state.next_due, p),
               time_text(view->state.last_attempt, p),
               staple_refresh_outcome_text(&view->state, p),
               view->state.attempts, view->state.failures, view->state.peer);
}

static void put_ring(request_rec *r, const staple_cache_t *cache)
{
    staple_cache_usage_t usage;

    staple_cache_usage(cache, &usage);
    ap_rprintf(r, "# ring: %" APR_SIZE_T_FMT " bytes, %" APR_SIZE_T_FMT
               " of %" APR_SIZE_T_FMT " data bytes live in %" APR_SIZE_T_FMT
               " responses\n", usage.size, usage.live, usage.data_size,
               usage.records);
}

int staple_status_handle(request_rec *r, const staple_cache_t *cache,
                         const staple_cert_registry_t *registry)
{
    const apr_array_header_t *list = staple_cert_list(registry);
    apr_time_t now = apr_time_now();
    apr_pool_t *p;
    int i;

    r->allowed |= (AP_METHOD_BIT << M_GET);
    if (r->method_number != M_GET) {
        return HTTP_METHOD_NOT_ALLOWED;
    }
    ap_set_content_type(r, "text/plain; charset=utf-8");
    apr_table_setn(r->headers_out, "Cache-Control", "no-store");
    if (r->header_only) {
        return OK;
    }
    if (cache) {
        put_ring(r, cache);
    }
    apr_pool_create(&p, r->pool);
    for (i = 0; i < list->nelts; i++) {
        view_t view = look(cache, APR_ARRAY_IDX(list, i, staple_cert_t *),
                           now, p);

        put_cert(r, &view, p);
        apr_pool_clear(p);
    }
    return OK;
}
