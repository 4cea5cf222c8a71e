/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * ?metrics, for Prometheus and what reads its formats.
 *
 * There are two dialects: OpenMetrics for whoever asks for it by Accept, as
 * Prometheus does, and Prometheus' older text format for all others, which
 * promtool reads. They differ in how a counter is announced and in the end.
 */

#include "status_int.h"

#include <apr_lib.h>
#include <apr_strings.h>

/* One metric's line of writing. */
typedef struct metrics_t {
    request_rec *r;
    const moment_t *moment;
    apr_pool_t *p;   /* a row's */
    int is_open;
} metrics_t;

static const char *label_text(const char *text, apr_pool_t *p)
{
    char *escaped = apr_palloc(p, 2 * strlen(text) + 1), *to = escaped;

    for (; *text; text++) {
        if (*text == '\\' || *text == '"') {
            *to++ = '\\';
        }
        *to++ = apr_iscntrl(*text) || *text & 0x80 ? '?' : *text;
    }
    *to = '\0';
    return escaped;
}

/* The base unit belongs into a metric's name. */
static const char *family_of(const char *scope, const number_t *number,
                             apr_pool_t *p)
{
    static const char *const units[] = { "", "_bytes", "_timestamp_seconds",
                                         "_seconds" };

    return apr_pstrcat(p, "staple_", scope, number->name,
                       units[number->unit], NULL);
}

static void announce(const metrics_t *metrics, const char *family,
                     number_type_e type, const char *meaning)
{
    const char *suffix = type == NUMBER_COUNTER && !metrics->is_open
                         ? "_total" : "";

    ap_rprintf(metrics->r, "# HELP %s%s %s\n# TYPE %s%s %s\n", family, suffix,
               meaning, family, suffix,
               type == NUMBER_COUNTER ? "counter" : "gauge");
}

/* A moment or a span that there was not has no sample. */
static int is_none(const number_t *number, apr_int64_t value)
{
    return number->unit == UNIT_TIME ? !value
           : number->unit == UNIT_SPAN && value < 0;
}

/* @param labels "{...}", or "" */
static void put_sample(const metrics_t *metrics, const char *family,
                       const number_t *number, const char *labels,
                       const void *numbers)
{
    apr_int64_t value = number_of(number, numbers);
    int is_time = number->unit == UNIT_TIME || number->unit == UNIT_SPAN;

    if (!is_time) {
        ap_rprintf(metrics->r, "%s%s%s %" APR_INT64_T_FMT "\n", family,
                   number->type == NUMBER_COUNTER ? "_total" : "", labels,
                   value);
    }
    else if (!is_none(number, value)) {
        ap_rprintf(metrics->r, "%s%s %" APR_INT64_T_FMT ".%03d\n", family,
                   labels, apr_time_sec(value), (int)apr_time_msec(value));
    }
}

/* Numbers of which there is one each. */
static void put_single_metrics(const metrics_t *metrics, const char *scope,
                               const number_t *number, const void *numbers)
{
    for (; number->name; number++) {
        const char *family = family_of(scope, number, metrics->p);

        announce(metrics, family, number->type, number->meaning);
        put_sample(metrics, family, number, "", numbers);
    }
}

static void put_server_metrics(const metrics_t *metrics)
{
    const moment_t *moment = metrics->moment;

    put_single_metrics(metrics, "", staple_status_server_numbers,
                       &moment->numbers);
    if (moment->share) {
        put_single_metrics(metrics, "share_", staple_status_share_numbers,
                           &moment->share_numbers);
    }
}

static void put_build_metric(const metrics_t *metrics)
{
    announce(metrics, "staple_build_info", NUMBER_GAUGE,
             "The module's version; always 1.");
    ap_rprintf(metrics->r, "staple_build_info{version=\"%s\"} 1\n",
               STAPLE_VERSION);
}

static void put_verdict_metric(const metrics_t *metrics)
{
    int i;

    announce(metrics, "staple_verdicts", NUMBER_GAUGE,
             "Certificates by verdict.");
    for (i = 0; i < VERDICTS; i++) {
        ap_rprintf(metrics->r, "staple_verdicts{verdict=\"%s\"} %d\n",
                   staple_status_verdict_name((verdict_e)i),
                   metrics->moment->verdicts[i]);
    }
}

static const char *cert_labels(const staple_cert_t *cert, apr_pool_t *p)
{
    return apr_pstrcat(p, "certificate=\"", label_text(cert->name, p),
                       "\",id=\"", staple_status_id_text(cert, p), "\"",
                       NULL);
}

static void put_cert_metrics(const metrics_t *metrics)
{
    const moment_t *moment = metrics->moment;
    const number_t *number = staple_status_cert_numbers;
    apr_pool_t *p = metrics->p;
    view_t view;
    int i;

    for (; number->name; number++) {
        const char *family = family_of("certificate_", number,
                                       metrics->r->pool);

        announce(metrics, family, number->type, number->meaning);
        for (i = 0; i < moment->rows_count; i++) {
            staple_status_weigh(moment, moment->rows[i].cert, &view);
            put_sample(metrics, family, number,
                       apr_pstrcat(p, "{", cert_labels(view.cert, p), "}",
                                   NULL), &view.numbers);
            apr_pool_clear(p);
        }
    }
}

static void put_info_metric(const metrics_t *metrics)
{
    const moment_t *moment = metrics->moment;
    apr_pool_t *p = metrics->p;
    int i;

    announce(metrics, "staple_certificate_info", NUMBER_GAUGE,
             "What a certificate is; always 1.");
    for (i = 0; i < moment->rows_count; i++) {
        const staple_cert_t *cert = moment->rows[i].cert;

        ap_rprintf(metrics->r, "staple_certificate_info{%s,subject=\"%s\","
                   "issuer=\"%s\",serial=\"%s\",host=\"%s\"} 1\n",
                   cert_labels(cert, p), label_text(cert->subject_dn, p),
                   label_text(cert->issuer_dn, p), cert->serial,
                   label_text(APR_ARRAY_IDX(cert->hosts, 0, const char *), p));
        apr_pool_clear(p);
    }
}

static void put_url_metric(const metrics_t *metrics)
{
    const moment_t *moment = metrics->moment;
    apr_pool_t *p = metrics->p;
    view_t view;
    int i;

    announce(metrics, "staple_certificate_responder", NUMBER_GAUGE,
             "The responder that was asked last for a certificate; always 1.");
    for (i = 0; i < moment->rows_count; i++) {
        staple_status_weigh(moment, moment->rows[i].cert, &view);
        if (view.url) {
            ap_rprintf(metrics->r, "staple_certificate_responder{%s,"
                       "url=\"%s\"} 1\n", cert_labels(view.cert, p),
                       label_text(view.url, p));
        }
        apr_pool_clear(p);
    }
}

static void put_trouble_metric(const metrics_t *metrics)
{
    const moment_t *moment = metrics->moment;
    apr_pool_t *p = metrics->p;
    view_t view;
    int i;

    announce(metrics, "staple_certificate_trouble", NUMBER_GAUGE,
             "Certificates that need attention, and why; always 1.");
    for (i = 0; i < moment->rows_count; i++) {
        if (staple_status_needs_attention(moment->rows[i].verdict)) {
            staple_status_look(moment, moment->rows[i].cert, &view, p);
            ap_rprintf(metrics->r, "staple_certificate_trouble{%s,"
                       "verdict=\"%s\",cause=\"%s\"} 1\n",
                       cert_labels(view.cert, p),
                       staple_status_verdict_name(view.verdict),
                       label_text(view.cause, p));
            apr_pool_clear(p);
        }
    }
}

static void put_responder_metrics(const metrics_t *metrics)
{
    const apr_array_header_t *list = metrics->moment->responders;
    const number_t *number = staple_status_responder_numbers;
    int i;

    for (; number->name; number++) {
        const char *family = family_of("responder_", number,
                                       metrics->r->pool);

        announce(metrics, family, number->type, number->meaning);
        for (i = 0; i < list->nelts; i++) {
            const responder_t *responder = &APR_ARRAY_IDX(list, i,
                                                          responder_t);

            put_sample(metrics, family, number,
                       apr_pstrcat(metrics->p, "{url=\"",
                                   label_text(responder->url, metrics->p),
                                   "\"}", NULL), &responder->numbers);
            apr_pool_clear(metrics->p);
        }
    }
}

void staple_status_put_metrics(request_rec *r, const moment_t *moment,
                               int is_open)
{
    metrics_t metrics = { r, moment, NULL, is_open };

    apr_pool_create(&metrics.p, r->pool);
    put_build_metric(&metrics);
    put_server_metrics(&metrics);
    put_verdict_metric(&metrics);
    put_cert_metrics(&metrics);
    put_info_metric(&metrics);
    put_url_metric(&metrics);
    put_trouble_metric(&metrics);
    put_responder_metrics(&metrics);
    if (is_open) {
        ap_rputs("# EOF\n", r);
    }
    apr_pool_destroy(metrics.p);
}
