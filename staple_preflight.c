/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The preflight's report: what would be stapled, by whom, and what is in the
 * way; what a firewall has to let out; whether the ring is large enough.
 *
 * The one idea: every certificate goes through the hook that mod_ssl calls at
 * start, so the report cannot differ from what a start would do. What needs
 * attention begins with "!!" and is counted; the count is the answer.
 */

#include "preflight/preflight_int.h"

#include <stdarg.h>
#include <stdio.h>

#include <http_config.h>
#include <http_core.h>
#include <apr_hash.h>
#include <apr_strings.h>

#include "staple_cache.h"
#include "staple_config.h"
#include "staple_sslconf.h"
#include "staple_url.h"
#include "staple_words.h"

/* The report as it is being made. */
typedef struct report_t {
    const staple_preflight_conf_t *conf;
    const staple_sslconf_t *written;
    apr_pool_t *pool;
    int troubles;
    apr_hash_t *targets; /* "host:port" to staple_preflight_target_t */
    apr_array_header_t *target_list; /* the same, as they came */
} report_t;

static void say(const char *label, const char *text)
{
    printf("  %-12s %s\n", label, text);
}

__attribute__((format(printf, 2, 3)))
static void trouble(report_t *report, const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    printf("  !!           ");
    vprintf(format, ap);
    printf("\n");
    va_end(ap);
    report->troubles++;
}

/* ----- a virtual host ----- */

/* Whether it can be asked. */
static int report_url(report_t *report, const staple_cert_t *cert,
                      const char *text)
{
    staple_url_t url;
    staple_url_e wrong = staple_url_parse(&url, text, report->pool);

    if (wrong != STAPLE_URL_OK) {
        trouble(report, "%s cannot be asked: the URL %s", text,
                staple_url_text(wrong));
        return 0;
    }
    say("responder", cert->policy->proxy
        ? apr_pstrcat(report->pool, url.text, " through ",
                      cert->policy->proxy_shown, NULL)
        : url.text);
    return 1;
}

/* How many sources of responses a certificate has. */
static int report_sources(report_t *report, const staple_cert_t *cert)
{
    const apr_array_header_t *files = cert->policy->response_files;
    int count = files->nelts;
    int i;

    for (i = 0; i < cert->urls->nelts; i++) {
        count += report_url(report, cert,
                            APR_ARRAY_IDX(cert->urls, i, const char *));
    }
    for (i = 0; i < files->nelts; i++) {
        say("response in", APR_ARRAY_IDX(files, i, const char *));
    }
    return count;
}

static void report_scope(report_t *report, const staple_cert_t *cert)
{
    const char *why = staple_cert_scope_text(cert->scope);

    if (staple_cert_is_faulty(cert)) {
        trouble(report, "not stapled: %s", why);
        return;
    }
    if (cert->scope == STAPLE_CERT_NO_ISSUER) {
        trouble(report, "not stapled: %s; append it to the file (or give "
                "SSLCertificateChainFile)", why);
    }
    if (cert->scope != STAPLE_CERT_APPLIES) {
        say("stapled", apr_pstrcat(report->pool, "no: ", why, NULL));
        if (cert->is_must_staple) {
            trouble(report, "clients refuse it: it is must-staple, but %s",
                    why);
        }
        return;
    }
    if (!cert->subject) {
        say("note", apr_psprintf(report->pool, "clients get an incomplete "
                                 "chain: append the issuer's certificate to "
                                 "the file; to staple, it is fetched from %s",
                                 APR_ARRAY_IDX(cert->issuer_urls, 0,
                                               const char *)));
    }
    if (!report_sources(report, cert)) {
        say("stapled", "no: none of its responders can be asked");
    }
    else if (cert->not_after < apr_time_now()) {
        trouble(report, "the certificate has expired, so its responder is not "
                "asked");
    }
    else {
        say("stapled", "yes");
    }
}

static void report_cert(report_t *report, const staple_cert_t *cert)
{
    say("certificate", apr_psprintf(report->pool, "%s, serial %s, until %s",
                                    cert->name, cert->serial,
                                    staple_words_date_text(
                                        cert->not_after, report->pool)));
    say("issuer", cert->issuer_dn);
    say("must-staple", cert->is_must_staple ? "yes" : "no");
    report_scope(report, cert);
}

static void report_file(report_t *report, const staple_sslconf_server_t *tls,
                        const char *path)
{
    const staple_preflight_conf_t *conf = report->conf;
    server_rec *s = (server_rec *)tls->server;
    staple_sslconf_pair_t pair;
    const char *wrong;

    say("file", path);
    if (staple_sslconf_is_on_token(path)) {
        say("note", "it is on a token, and was not looked at");
        return;
    }
    wrong = staple_sslconf_load(&pair, path, tls, report->pool);
    if (wrong) {
        trouble(report, "%s", wrong);
        return;
    }
    if (!staple_config_of(s)->use_stapling) {
        say("certificate", pair.subject);
        say("stapled", "no: SSLUseStapling is off");
        return;
    }
    if (conf->prime(s, report->pool, (const char *)pair.id, sizeof(pair.id),
                    pair.pem) != OK) {
        trouble(report, "not stapled: the certificate cannot be used");
        return;
    }
    report_cert(report, staple_cert_find(conf->registry,
                                         (const char *)pair.id,
                                         sizeof(pair.id)));
}

static void report_server(report_t *report, const staple_sslconf_server_t *tls)
{
    const server_rec *s = tls->server;
    int i;

    printf("\n%s:%u (%s:%u)\n", s->server_hostname ? s->server_hostname : "_",
           (unsigned)staple_sslconf_port(s),
           s->defn_name ? s->defn_name : "main server", s->defn_line_number);
    if (!tls->certs->nelts) {
        say("certificate", "not known before the start: there is no "
            "SSLCertificateFile (with mod_md it comes from there)");
    }
    for (i = 0; i < tls->certs->nelts; i++) {
        report_file(report, tls, APR_ARRAY_IDX(tls->certs, i, const char *));
    }
}

/* ----- the server as a whole ----- */

static int is_on_anywhere(const server_rec *s)
{
    while (s && !staple_config_of(s)->use_stapling) {
        s = s->next;
    }
    return s != NULL;
}

static void report_owner(report_t *report)
{
    const staple_main_conf_t *global
        = staple_config_of(report->conf->server)->main;

    printf("OCSP stapling\n");
    if (!is_on_anywhere(report->conf->server)) {
        say("by", "nobody: SSLUseStapling is off everywhere");
        return;
    }
    say("by", "mod_staple " STAPLE_VERSION);
    if (report->written->is_md_stapling) {
        say("by", "mod_md, for its own domains: MDStapling is on, and mod_md "
            "comes first");
    }
    if (!ap_find_linked_module("mod_ssl.c")) {
        trouble(report, "mod_ssl is not loaded: nothing is stapled");
    }
    if (!global->has_cache) {
        trouble(report, "there is no SSLStaplingCache: with SSLUseStapling on "
                "mod_ssl does not start (AH01958); add at server level: "
                "SSLStaplingCache \"shmcb:%s(512000)\"",
                ap_runtime_dir_relative(report->pool, "stapling_cache"));
    }
}

static void add_target(report_t *report, const staple_url_t *url,
                       const char *role)
{
    const char *key = apr_psprintf(report->pool, "%s:%u", url->host,
                                   (unsigned)url->port);
    staple_preflight_target_t *target = apr_hash_get(report->targets, key,
                                    APR_HASH_KEY_STRING);

    if (!target) {
        target = apr_pcalloc(report->pool, sizeof(*target));
        target->host = url->host;
        target->port = url->port;
        target->role = role;
        apr_hash_set(report->targets, key, APR_HASH_KEY_STRING, target);
        APR_ARRAY_PUSH(report->target_list, staple_preflight_target_t *)
            = target;
    }
    target->uses++;
}

static void add_url(report_t *report, const staple_cert_t *cert,
                    const char *text)
{
    staple_url_t url;

    text = cert->policy->proxy ? cert->policy->proxy : text;
    if (staple_url_parse(&url, text, report->pool) == STAPLE_URL_OK) {
        add_target(report, &url, cert->policy->proxy ? "proxy" : "responder");
    }
}

static void add_targets(report_t *report, const staple_cert_t *cert)
{
    int i;

    for (i = 0; i < cert->urls->nelts; i++) {
        add_url(report, cert, APR_ARRAY_IDX(cert->urls, i, const char *));
    }
    for (i = 0; !cert->subject && i < cert->issuer_urls->nelts; i++) {
        add_url(report, cert,
                APR_ARRAY_IDX(cert->issuer_urls, i, const char *));
    }
}

static void report_targets(report_t *report)
{
    const apr_array_header_t *list = staple_cert_list(report->conf->registry);
    int i;

    for (i = 0; i < list->nelts; i++) {
        const staple_cert_t *cert = APR_ARRAY_IDX(list, i, staple_cert_t *);

        if (cert->scope == STAPLE_CERT_APPLIES) {
            add_targets(report, cert);
        }
    }
    printf("\nTo be let out by a firewall\n");
    report->troubles += staple_preflight_names(report->conf->server,
                                               report->target_list,
                                               report->pool);
}

/* What keeps a start from having its file there. */
static void report_place(report_t *report, const char *path, apr_size_t size)
{
    const char *why = staple_cache_foresee(path, size, report->pool);

    if (why) {
        trouble(report, "no ring file can be kept there: %s; responses will "
                "not survive a stop", why);
    }
}

static void report_ring(report_t *report)
{
    const staple_main_conf_t *global
        = staple_config_of(report->conf->server)->main;
    apr_size_t count = staple_cert_count_stapled(report->conf->registry);
    apr_size_t need = staple_cache_size_for(count);

    printf("\nThe ring\n");
    say("path", global->cache.path ? global->cache.path
        : "none: responses will not survive a stop");
    say("size", apr_psprintf(report->pool, "%" APR_SIZE_T_FMT " bytes given, "
                             "%" APR_SIZE_T_FMT " needed for %"
                             APR_SIZE_T_FMT " certificate%s",
                             global->cache.size, need, count,
                             count == 1 ? "" : "s"));
    if (need > global->cache.size && global->cache_grow) {
        say("", "it will grow at start");
    }
    else if (need > global->cache.size) {
        trouble(report, "too small, and StapleCacheGrow is off: some "
                "certificates are left out");
    }
    if (count && global->cache.path) {
        report_place(report, global->cache.path,
                     need > global->cache.size && global->cache_grow
                     ? need : staple_cache_size_useful(global->cache.size,
                                                       count));
    }
}

int staple_preflight_is_wanted(void)
{
    return ap_exists_config_define("DUMP_STAPLING")
           || ap_exists_config_define("PROBE_STAPLING");
}

int staple_preflight_report(const staple_preflight_conf_t *conf, apr_pool_t *p)
{
    report_t report;
    int i;

    memset(&report, 0, sizeof(report));
    report.conf = conf;
    report.pool = p;
    report.targets = apr_hash_make(p);
    report.target_list = apr_array_make(p, 8,
                                        sizeof(staple_preflight_target_t *));
    report.written = staple_sslconf_read(conf->server, p);
    report_owner(&report);
    for (i = 0; i < report.written->servers->nelts; i++) {
        const staple_sslconf_server_t *tls
            = &APR_ARRAY_IDX(report.written->servers, i,
                             staple_sslconf_server_t);

        if (tls->is_on > 0) {
            report_server(&report, tls);
        }
    }
    report_targets(&report);
    report_ring(&report);
    if (ap_exists_config_define("PROBE_STAPLING")) {
        report.troubles += staple_preflight_probe(conf, p);
    }
    if (report.troubles) {
        printf("\n%d thing%s need%s attention\n", report.troubles,
               report.troubles == 1 ? "" : "s",
               report.troubles == 1 ? "s" : "");
    }
    else {
        printf("\nall is well\n");
    }
    fflush(stdout);
    return report.troubles;
}
