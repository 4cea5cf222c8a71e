/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Everything at one moment: each certificate of the registry, as the ring has
 * it.
 *
 * The one idea: everything is read from the ring, where the refresher has
 * left it, and judged by the rules that a
 * handshake follows, so the page says what a client gets.
 *
 * A first pass over all certificates gives the sums and the order; what is
 * said of each is worked out again when its row is written, so that only a row
 * has to be in memory.
 */

#include "status_int.h"

#include <stdlib.h>
#include <apr_lib.h>
#include <apr_strings.h>

#include "staple_process.h"

/* ----- one certificate ----- */

const char *staple_status_id_text(const staple_cert_t *cert, apr_pool_t *p)
{
    return staple_report_id_text(cert->id, p);
}

static int digit_of(char c)
{
    return apr_isdigit(c) ? c - '0' : apr_tolower(c) - 'a' + 10;
}

const staple_cert_t *staple_status_find(const staple_status_conf_t *conf,
                                        const char *id)
{
    unsigned char bytes[STAPLE_ID_LEN];
    apr_size_t digits = 0;

    memset(bytes, 0, sizeof(bytes));
    for (; *id; id++) {
        if (*id == ':') {
            continue;
        }
        if (!apr_isxdigit(*id) || digits == 2 * sizeof(bytes)) {
            return NULL;
        }
        bytes[digits / 2] = (unsigned char)(bytes[digits / 2] << 4
                                            | digit_of(*id));
        digits++;
    }
    return digits && digits % 2 == 0
           ? staple_cert_find(conf->registry, (const char *)bytes,
                              sizeof(bytes))
           : NULL;
}

/* What the ring holds of it. */
static void read_ring(const moment_t *moment, int slot, staple_view_t *view)
{
    const staple_cache_t *cache = moment->conf->cache;
    apr_status_t rv;

    staple_cache_state(cache, slot, &view->exchange);
    staple_cache_served(cache, slot, &view->served);
    rv = staple_cache_read(cache, slot, moment->buf, STAPLE_CACHE_DER_MAX,
                           &view->der_len, &view->meta);
    if (rv) {
        rv = staple_cache_read_pending(cache, slot, moment->buf,
                                       STAPLE_CACHE_DER_MAX, &view->der_len,
                                       &view->meta);
        view->is_pending = !rv;
    }
    view->der = rv ? NULL : moment->buf;
}

void staple_status_read(const moment_t *moment, const staple_cert_t *cert,
                        staple_view_t *view)
{
    memset(view, 0, sizeof(*view));
    view->cert = cert;
    view->policy = cert->policy;
    view->id = cert->id;
    view->host = "";
    view->has_slot = moment->conf->cache && cert->slot >= 0;
    view->has_exchange = 1;
    if (view->has_slot) {
        read_ring(moment, cert->slot, view);
    }
    staple_report_judge(view, moment->report.now);
}

void staple_status_describe(const moment_t *moment, const staple_cert_t *cert,
                            staple_view_t *view, apr_pool_t *p_row)
{
    staple_status_read(moment, cert, view);
    staple_report_explain(view, moment->report.now, p_row);
}

/* ----- all of them ----- */

static int is_wanted(const staple_view_t *view, const query_t *query)
{
    if (query->only_attention && !staple_state_needs_attention(view->state)) {
        return 0;
    }
    if (query->state != STAPLE_STATES && query->state != view->state) {
        return 0;
    }
    if (query->serial && ap_cstr_casecmp(view->cert->serial, query->serial)) {
        return 0;
    }
    return staple_report_has_words(view, query->words);
}

static void add_row(moment_t *moment, const staple_view_t *view, int number)
{
    row_t *row = &moment->rows[moment->rows_count++];

    row->cert = view->cert;
    row->state = view->state;
    row->until = view->numbers.serve_until;
    row->number = number;
}

static int by_urgency(const void *av, const void *bv)
{
    const row_t *a = av, *b = bv;

    if (a->state != b->state) {
        return a->state < b->state ? -1 : 1;
    }
    if (a->until != b->until) {
        return a->until < b->until ? -1 : 1;
    }
    return a->number - b->number;
}

static void read_certs(moment_t *moment, const query_t *query, apr_pool_t *p)
{
    const apr_array_header_t *list = staple_cert_list(moment->conf->registry);
    staple_view_t view;
    int i;

    moment->rows = apr_palloc(p, ((apr_size_t)list->nelts + 1)
                                 * sizeof(*moment->rows));
    for (i = 0; i < list->nelts; i++) {
        staple_status_read(moment, APR_ARRAY_IDX(list, i, staple_cert_t *),
                           &view);
        staple_report_add(&moment->report, &view, p);
        if (is_wanted(&view, query)) {
            add_row(moment, &view, i);
        }
    }
    qsort(moment->rows, (size_t)moment->rows_count, sizeof(*moment->rows),
          by_urgency);
}

static void read_refresher(moment_t *moment)
{
    staple_refresher_numbers_t *numbers = &moment->report.refresher;
    staple_process_state_t state;

    if (!moment->conf->process) {
        return;
    }
    staple_process_state(moment->conf->process, &state);
    moment->report.has_refresher = 1;
    numbers->running = state.silence >= 0
                       && state.silence < STAPLE_PROCESS_SILENCE;
    numbers->pid = state.pid;
    numbers->started = state.born;
    numbers->restarts = state.restarts;
    numbers->silence = state.silence;
}

static void read_sums(moment_t *moment, apr_pool_t *p)
{
    const staple_status_conf_t *conf = moment->conf;
    staple_cache_share_t share;

    read_refresher(moment);
    if (!conf->cache) {
        return;
    }
    staple_report_add_ring(&moment->report, conf->cache);
    if (conf->share) {
        staple_cache_share(conf->cache, &share);
        staple_report_add_share(&moment->report, conf->share, &share, p);
    }
}

moment_t *staple_status_open(request_rec *r, const staple_status_conf_t *conf)
{
    moment_t *moment = apr_pcalloc(r->pool, sizeof(*moment));
    staple_report_t *report = &moment->report;

    moment->conf = conf;
    moment->buf = apr_palloc(r->pool, STAPLE_CACHE_DER_MAX);
    staple_report_start(report, "server", apr_time_now(), r->pool);
    report->server = ap_get_server_description();
    report->host = r->server->server_hostname;
    report->ring_path = conf->ring_path;
    return moment;
}

moment_t *staple_status_gather(request_rec *r,
                               const staple_status_conf_t *conf,
                               const query_t *query)
{
    moment_t *moment = staple_status_open(r, conf);

    read_certs(moment, query, r->pool);
    read_sums(moment, r->pool);
    staple_report_finish(&moment->report, r->pool);
    return moment;
}
