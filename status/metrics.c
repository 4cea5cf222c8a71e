/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * ?metrics, for Prometheus and what reads its formats.
 *
 * There are two dialects: OpenMetrics for whoever asks for it by Accept, as
 * Prometheus does, and Prometheus' older text format for all others, which
 * promtool reads. They differ in how a counter is announced and in the end.
 *
 * The one idea: a scrape stays small. A certificate has one series, two or
 * three where it is must-staple or in trouble; all its numbers come with
 * `detail`. All samples of a metric have to stand together, so the certificates
 * are read once, and written once for each metric.
 */

#include "status_int.h"

#include <apr_lib.h>
#include <apr_strings.h>

/* A certificate: what each of its samples needs. */
typedef struct metrics_row_t {
    const staple_cert_t *cert;
    staple_state_e state;
    const char *url;
    const char *labels; /* "certificate=...,id=..." */
    staple_cert_numbers_t numbers;
} metrics_row_t;

/* One request's writing. */
typedef struct metrics_t {
    request_rec *r;
    const moment_t *moment;
    metrics_row_t *rows;
    int is_open;     /* OpenMetrics */
} metrics_t;

/* Has a series for each reason. */
#define FAILURES "staple_fetch_failures"

/* ----- names and values ----- */

/* Names that the conventions of Prometheus want, for names of our numbers. */
static const struct {
    const char *name, *metric;
} renamed[] = {
    { "staple_applicable", "staple_certificates_applicable" },
    { "staple_attention", "staple_certificates_attention" },
    { "staple_stapled", "staple_certificates_stapled" },
    { "staple_served", "staple_handshakes_stapled" },
    { "staple_missed", "staple_handshakes_not_stapled" },
    { "staple_attempts", "staple_fetches" },
    { "staple_failures", FAILURES },
    { "staple_avoided", "staple_must_staple_avoided" },
    { "staple_refused", "staple_must_staple_refused" },
    { "staple_certificate_served", "staple_certificate_handshakes_stapled" },
    { "staple_certificate_missed",
      "staple_certificate_handshakes_not_stapled" },
    { "staple_certificate_attempts", "staple_certificate_fetches" },
    { "staple_certificate_failures", "staple_certificate_fetch_failures" },
    { "staple_certificate_failing",
      "staple_certificate_consecutive_failures" },
    { "staple_responder_answering",
      "staple_responder_certificates_answering" },
    { "staple_responder_failing", "staple_responder_certificates_failing" },
    { "staple_responder_failing_stapled",
      "staple_responder_certificates_failing_stapled" }
};

static const char *metric_of(const char *name)
{
    apr_size_t i;

    for (i = 0; i < sizeof(renamed) / sizeof(*renamed); i++) {
        if (!strcmp(renamed[i].name, name)) {
            return renamed[i].metric;
        }
    }
    return name;
}

/* The base unit belongs into a metric's name. */
static const char *family_of(const char *scope, const staple_number_t *number,
                             apr_pool_t *p)
{
    static const char *const units[] = { "", "_bytes", "_timestamp_seconds",
                                         "_seconds" };

    return apr_pstrcat(p, metric_of(apr_pstrcat(p, "staple_", scope,
                                                number->name, NULL)),
                       units[number->unit], NULL);
}

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

static void announce(const metrics_t *metrics, const char *family,
                     staple_number_type_e type, const char *meaning)
{
    const char *suffix = type == STAPLE_NUMBER_COUNTER && !metrics->is_open
                         ? "_total" : "";

    ap_rprintf(metrics->r, "# HELP %s%s %s\n# TYPE %s%s %s\n", family, suffix,
               meaning, family, suffix,
               type == STAPLE_NUMBER_COUNTER ? "counter" : "gauge");
}

/* A moment or a span that there was not has no sample. */
static int is_none(const staple_number_t *number, apr_int64_t value)
{
    if (number->unit == STAPLE_UNIT_TIME) {
        return !value;
    }
    return number->unit == STAPLE_UNIT_SPAN && value < 0;
}

/* @param labels what stands between the braces; "": there are no braces */
static void put_sample(const metrics_t *metrics, const char *family,
                       const staple_number_t *number, const char *labels,
                       const void *numbers)
{
    apr_int64_t value = staple_number_of(number, numbers);
    const char *open = *labels ? "{" : "", *close = *labels ? "}" : "";

    if (number->unit == STAPLE_UNIT_NONE || number->unit == STAPLE_UNIT_BYTES) {
        ap_rprintf(metrics->r, "%s%s%s%s%s %" APR_INT64_T_FMT "\n", family,
                   number->type == STAPLE_NUMBER_COUNTER ? "_total" : "", open,
                   labels, close, value);
    }
    else if (!is_none(number, value)) {
        ap_rprintf(metrics->r, "%s%s%s%s %" APR_INT64_T_FMT ".%03d\n", family,
                   open, labels, close, apr_time_sec(value),
                   (int)apr_time_msec(value));
    }
}

/* ----- the server ----- */

/* Numbers of which there is one each. */
static void put_single_metrics(const metrics_t *metrics, const char *scope,
                               const staple_number_t *number,
                               const void *numbers)
{
    for (; number->name; number++) {
        const char *family = family_of(scope, number, metrics->r->pool);

        if (strcmp(family, FAILURES)) {
            announce(metrics, family, number->type, number->meaning);
            put_sample(metrics, family, number, "", numbers);
        }
    }
}

/* The sum of these is what the number says. */
static void put_failure_metric(const metrics_t *metrics)
{
    unsigned int i;

    announce(metrics, FAILURES, STAPLE_NUMBER_COUNTER,
             "Exchanges that brought no response, by reason.");
    for (i = 0; i < STAPLE_CACHE_FAILURES; i++) {
        if (staple_state_failure_name(i)) {
            ap_rprintf(metrics->r, FAILURES "_total{reason=\"%s\"} %"
                       APR_INT64_T_FMT "\n", staple_state_failure_name(i),
                       metrics->moment->report.failures[i]);
        }
    }
}

static void put_server_metrics(const metrics_t *metrics)
{
    const staple_report_t *report = &metrics->moment->report;

    announce(metrics, "staple_build_info", STAPLE_NUMBER_GAUGE,
             "The module's version; always 1.");
    ap_rprintf(metrics->r, "staple_build_info{version=\"%s\"} 1\n",
               STAPLE_VERSION);
    put_single_metrics(metrics, "", staple_report_server_numbers,
                       &report->numbers);
    put_failure_metric(metrics);
    if (report->has_refresher) {
        put_single_metrics(metrics, "refresher_",
                           staple_report_refresher_numbers,
                           &report->refresher);
    }
    if (report->share) {
        put_single_metrics(metrics, "share_", staple_report_share_numbers,
                           &report->share_numbers);
    }
}

static void put_state_metric(const metrics_t *metrics)
{
    int i;

    announce(metrics, "staple_state_certificates", STAPLE_NUMBER_GAUGE,
             "Certificates by state.");
    for (i = 0; i < STAPLE_STATES; i++) {
        ap_rprintf(metrics->r, "staple_state_certificates{state=\"%s\"} %d\n",
                   staple_state_name((staple_state_e)i),
                   metrics->moment->report.states[i]);
    }
}

/* ----- responders ----- */

static const char *url_label(const staple_responder_t *responder,
                             apr_pool_t *p)
{
    return apr_pstrcat(p, "url=\"", label_text(responder->url, p), "\"", NULL);
}

/* Nothing is said of one that nobody needed to ask. */
static void put_up_metric(const metrics_t *metrics)
{
    const apr_array_header_t *list = metrics->moment->report.responders;
    int i;

    announce(metrics, "staple_responder_up", STAPLE_NUMBER_GAUGE,
             "0 if all that is asked of the responder fails, else 1.");
    for (i = 0; i < list->nelts; i++) {
        const staple_responder_t *responder
            = &APR_ARRAY_IDX(list, i, staple_responder_t);

        if (responder->numbers.answering || responder->numbers.failing) {
            ap_rprintf(metrics->r, "staple_responder_up{%s} %d\n",
                       url_label(responder, metrics->r->pool),
                       !staple_responder_is_down(responder));
        }
    }
}

static void put_responder_metrics(const metrics_t *metrics)
{
    const apr_array_header_t *list = metrics->moment->report.responders;
    const staple_number_t *number = staple_report_responder_numbers;
    apr_pool_t *p = metrics->r->pool;
    int i;

    put_up_metric(metrics);
    for (; number->name; number++) {
        const char *family = family_of("responder_", number, p);

        announce(metrics, family, number->type, number->meaning);
        for (i = 0; i < list->nelts; i++) {
            const staple_responder_t *responder
                = &APR_ARRAY_IDX(list, i, staple_responder_t);

            put_sample(metrics, family, number, url_label(responder, p),
                       &responder->numbers);
        }
    }
}

/* ----- certificates ----- */

static void read_rows(metrics_t *metrics)
{
    const moment_t *moment = metrics->moment;
    apr_pool_t *p = metrics->r->pool;
    staple_view_t view;
    int i;

    metrics->rows = apr_palloc(p, ((apr_size_t)moment->rows_count + 1)
                                  * sizeof(*metrics->rows));
    for (i = 0; i < moment->rows_count; i++) {
        metrics_row_t *row = &metrics->rows[i];

        staple_status_read(moment, moment->rows[i].cert, &view);
        row->cert = view.cert;
        row->state = view.state;
        row->url = view.url;
        row->numbers = view.numbers;
        row->labels = apr_pstrcat(p, "certificate=\"",
                                  label_text(view.cert->name, p), "\",id=\"",
                                  staple_status_id_text(view.cert, p), "\"",
                                  NULL);
    }
}

/* The one series that each certificate has. */
static void put_validity_metric(const metrics_t *metrics)
{
    apr_time_t now = metrics->moment->report.now;
    int i;

    announce(metrics, "staple_certificate_validity_seconds",
             STAPLE_NUMBER_GAUGE, "For how long the response that is stapled "
             "stays valid; 0: none is stapled.");
    for (i = 0; i < metrics->moment->rows_count; i++) {
        const metrics_row_t *row = &metrics->rows[i];
        apr_interval_time_t left = row->numbers.serve_until - now;

        if (row->state != STAPLE_STATE_NOT_APPLICABLE) {
            ap_rprintf(metrics->r, "staple_certificate_validity_seconds{%s} %"
                       APR_TIME_T_FMT "\n", row->labels,
                       row->numbers.stapled ? apr_time_sec(left) : 0);
        }
    }
}

static void put_must_staple_metric(const metrics_t *metrics)
{
    int i;

    announce(metrics, "staple_certificate_must_staple", STAPLE_NUMBER_GAUGE,
             "1 for certificates that clients refuse without a response; none "
             "for others.");
    for (i = 0; i < metrics->moment->rows_count; i++) {
        if (metrics->rows[i].cert->is_must_staple) {
            ap_rprintf(metrics->r, "staple_certificate_must_staple{%s} 1\n",
                       metrics->rows[i].labels);
        }
    }
}

/* Certificates come by urgency, so those in trouble are the first. */
static void put_trouble_metric(const metrics_t *metrics)
{
    int i;

    announce(metrics, "staple_certificate_trouble", STAPLE_NUMBER_GAUGE,
             "Certificates that need attention, by state; always 1.");
    for (i = 0; i < metrics->moment->rows_count; i++) {
        const metrics_row_t *row = &metrics->rows[i];

        if (staple_state_needs_attention(row->state)) {
            ap_rprintf(metrics->r, "staple_certificate_trouble{%s,"
                       "state=\"%s\",severity=\"%s\"} 1\n", row->labels,
                       staple_state_name(row->state), staple_severity_name(
                           staple_state_severity(row->state)));
        }
    }
}

/* ----- detail ----- */

static void put_age_metric(const metrics_t *metrics)
{
    apr_time_t now = metrics->moment->report.now;
    int i;

    announce(metrics, "staple_certificate_age_seconds", STAPLE_NUMBER_GAUGE,
             "How long ago the response that is stapled was made.");
    for (i = 0; i < metrics->moment->rows_count; i++) {
        const metrics_row_t *row = &metrics->rows[i];

        if (row->numbers.stapled) {
            ap_rprintf(metrics->r, "staple_certificate_age_seconds{%s} %"
                       APR_TIME_T_FMT "\n", row->labels,
                       apr_time_sec(now - row->numbers.this_update));
        }
    }
}

static void put_info_metric(const metrics_t *metrics)
{
    apr_pool_t *p = metrics->r->pool;
    int i;

    announce(metrics, "staple_certificate_info", STAPLE_NUMBER_GAUGE,
             "What a certificate is, and which responder was asked last; "
             "always 1.");
    for (i = 0; i < metrics->moment->rows_count; i++) {
        const metrics_row_t *row = &metrics->rows[i];
        const staple_cert_t *cert = row->cert;

        ap_rprintf(metrics->r, "staple_certificate_info{%s,subject=\"%s\","
                   "issuer=\"%s\",serial=\"%s\",host=\"%s\",url=\"%s\"} 1\n",
                   row->labels, label_text(cert->subject_dn, p),
                   label_text(cert->issuer_dn, p), cert->serial,
                   label_text(APR_ARRAY_IDX(cert->hosts, 0, const char *), p),
                   row->url ? label_text(row->url, p) : "");
    }
}

/* All numbers, but what stands above already. */
static void put_cert_numbers(const metrics_t *metrics)
{
    const staple_number_t *number = staple_report_cert_numbers;
    int i;

    for (; number->name; number++) {
        const char *family = family_of("certificate_", number,
                                       metrics->r->pool);

        if (!strcmp(number->name, "must_staple")) {
            continue;
        }
        announce(metrics, family, number->type, number->meaning);
        for (i = 0; i < metrics->moment->rows_count; i++) {
            put_sample(metrics, family, number, metrics->rows[i].labels,
                       &metrics->rows[i].numbers);
        }
    }
}

void staple_status_put_metrics(request_rec *r, const moment_t *moment,
                               const query_t *query, int is_open)
{
    metrics_t metrics = { r, moment, NULL, is_open };

    put_server_metrics(&metrics);
    put_state_metric(&metrics);
    put_responder_metrics(&metrics);
    read_rows(&metrics);
    put_validity_metric(&metrics);
    put_must_staple_metric(&metrics);
    put_trouble_metric(&metrics);
    if (query->has_detail) {
        put_age_metric(&metrics);
        put_info_metric(&metrics);
        put_cert_numbers(&metrics);
    }
    if (is_open) {
        ap_rputs("# EOF\n", r);
    }
}
