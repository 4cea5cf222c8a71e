/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The preflight: what would be stapled, by whom, and what is in the way; whom a
 * firewall has to let this server reach; whether the ring is large enough. The
 * report is put together here; how it is printed is in preflight/text.c and
 * preflight/json.c.
 *
 * The one idea: every certificate goes through the hook that mod_ssl calls at
 * start, so the report cannot differ from what a start would do; and what it
 * says of one is said in the words of the status page (staple_state.h).
 */

#include "preflight/preflight_int.h"

#include <stdlib.h>
#include <string.h>

#include <http_config.h>
#include <http_core.h>
#include <apr_strings.h>

#include "staple_cache.h"
#include "staple_config.h"
#include "staple_url.h"

/* Where the words of a trouble say all that there is to say. */
static const staple_state_advice_t no_advice = { "", "" };

const preflight_trouble_t *staple_preflight_add(preflight_t *report,
                                                const char *where,
                                                const char *what,
                                                const staple_state_advice_t
                                                *advice)
{
    preflight_trouble_t *trouble = apr_palloc(report->pool, sizeof(*trouble));

    trouble->where = where;
    trouble->what = what;
    trouble->who = advice->who;
    trouble->remedy = advice->remedy;
    APR_ARRAY_PUSH(report->troubles, preflight_trouble_t *) = trouble;
    return trouble;
}

/* ----- a virtual host ----- */

static void add_trouble(preflight_t *report, preflight_cert_t *entry,
                        const char *where, const char *what)
{
    APR_ARRAY_PUSH(entry->troubles, const preflight_trouble_t *)
        = staple_preflight_add(report, where, what, &no_advice);
}

/* Hand it over as mod_ssl would. */
static void take_over(preflight_t *report, preflight_cert_t *entry,
                      server_rec *s, const staple_sslconf_pair_t *pair,
                      const char *where)
{
    const staple_preflight_conf_t *conf = report->conf;

    if (conf->prime(s, report->pool, (const char *)pair->id, sizeof(pair->id),
                    pair->pem) != OK) {
        add_trouble(report, entry, where, "the certificate cannot be used");
        return;
    }
    staple_preflight_foresee(report, entry,
                             staple_cert_find(conf->registry,
                                              (const char *)pair->id,
                                              sizeof(pair->id)), where);
    if (entry->is_stapled && !pair->has_issuer && !entry->note) {
        entry->note = STAPLE_PREFLIGHT_SHORT_CHAIN; /* another host has it */
    }
}

static preflight_cert_t *new_entry(const preflight_t *report,
                                   preflight_host_t *host, const char *path)
{
    preflight_cert_t *entry = apr_array_push(host->certs);

    memset(entry, 0, sizeof(*entry));
    entry->file = path;
    entry->urls = apr_array_make(report->pool, 1, sizeof(preflight_url_t));
    entry->troubles = apr_array_make(report->pool, 1,
                                     sizeof(preflight_trouble_t *));
    return entry;
}

static const char *where_is(const preflight_t *report,
                            const preflight_host_t *host)
{
    return apr_psprintf(report->pool, "%s (%s:%u)", host->name, host->file,
                        host->line);
}

/* Of a certificate that many hosts send, what is wrong is said once. */
static void foresee_link(preflight_t *report, preflight_host_t *host,
                         preflight_cert_t *entry, const staple_cert_t *cert)
{
    preflight_cert_t *first = apr_hash_get(report->links, cert->id,
                                           STAPLE_ID_LEN);
    const preflight_cert_t own = *entry;

    if (first) {
        *entry = *first;
        entry->file = own.file;
        entry->troubles = own.troubles;
        return;
    }
    staple_preflight_foresee(report, entry, cert, where_is(report, host));
    first = apr_pmemdup(report->pool, entry, sizeof(*entry));
    apr_hash_set(report->links, cert->id, STAPLE_ID_LEN, first);
}

static void look_at_link(preflight_t *report, preflight_host_t *host,
                         const staple_sslconf_server_t *tls,
                         const staple_sslconf_pair_t *pair, const char *path)
{
    preflight_cert_t *entry = new_entry(report, host, path);
    staple_cert_use_t use = { .id = (const char *)pair->id,
                              .id_len = sizeof(pair->id), .pem = pair->pem,
                              .is_of_chain = 1 };
    const staple_cert_t *cert;

    entry->is_ca = 1;
    entry->subject = pair->subject;
    entry->off = report->conf->why_no_chain;
    if (entry->off) {
        return;
    }
    cert = report->conf->add_of_chain((server_rec *)tls->server, &use);
    if (cert) {
        foresee_link(report, host, entry, cert);
    }
    else {
        add_trouble(report, entry, where_is(report, host),
                    "a certificate of its chain cannot be used");
    }
}

/* What StapleChain adds. */
static void look_at_chain(preflight_t *report, preflight_host_t *host,
                          const staple_sslconf_server_t *tls, const char *path)
{
    const apr_array_header_t *links;
    int i;

    if (!report->conf->is_chain || staple_sslconf_is_on_token(path)
        || !staple_config_of(tls->server)->use_stapling) {
        return;
    }
    links = staple_sslconf_load_chain(path, tls, report->pool);
    for (i = 0; i < links->nelts; i++) {
        look_at_link(report, host, tls,
                     &APR_ARRAY_IDX(links, i, staple_sslconf_pair_t), path);
    }
}

static void look_at_file(preflight_t *report, preflight_host_t *host,
                         const staple_sslconf_server_t *tls, const char *path)
{
    preflight_cert_t *entry = new_entry(report, host, path);
    server_rec *s = (server_rec *)tls->server;
    const char *where = where_is(report, host);
    staple_sslconf_pair_t pair;
    const char *wrong;

    if (staple_sslconf_is_on_token(path)) {
        entry->note = "it is on a token, and was not looked at";
        return;
    }
    wrong = staple_sslconf_load(&pair, path, tls, report->pool);
    if (wrong) {
        add_trouble(report, entry, where, wrong);
        return;
    }
    entry->subject = pair.subject;
    if (!staple_config_of(s)->use_stapling) {
        entry->off = "SSLUseStapling is off";
        return;
    }
    take_over(report, entry, s, &pair, where);
}

static void look_at_host(preflight_t *report,
                         const staple_sslconf_server_t *tls)
{
    preflight_host_t *host = apr_array_push(report->hosts);
    const server_rec *s = tls->server;
    int i;

    host->name = apr_psprintf(report->pool, "%s:%u", s->server_hostname
                              ? s->server_hostname : "_",
                              (unsigned)staple_sslconf_port(s));
    host->file = s->defn_name ? s->defn_name : "main server";
    host->line = s->defn_line_number;
    host->certs = apr_array_make(report->pool, 1, sizeof(preflight_cert_t));
    for (i = 0; i < tls->certs->nelts; i++) {
        const char *path = APR_ARRAY_IDX(tls->certs, i, const char *);

        look_at_file(report, host, tls, path);
        look_at_chain(report, host, tls, path);
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

static void look_at_owner(preflight_t *report)
{
    const staple_main_conf_t *global
        = staple_config_of(report->conf->server)->main;

    if (!is_on_anywhere(report->conf->server)) {
        return;
    }
    report->by = "mod_staple " STAPLE_VERSION;
    if (report->written->is_md_stapling) {
        APR_ARRAY_PUSH(report->notes, const char *)
            = "mod_md, for its own domains: MDStapling is on, and mod_md comes "
              "first";
    }
    if (report->conf->is_chain && report->conf->why_no_chain) {
        staple_preflight_add(report, "the server", apr_pstrcat(
            report->pool, "StapleChain on has no effect: ",
            report->conf->why_no_chain, NULL), &no_advice);
    }
    if (!ap_find_linked_module("mod_ssl.c")) {
        staple_preflight_add(report, "the server", "mod_ssl is not loaded: "
                             "nothing is stapled", &no_advice);
    }
    if (!global->has_cache) {
        staple_preflight_add(report, "the server", apr_psprintf(
            report->pool, "there is no SSLStaplingCache: with SSLUseStapling "
            "on mod_ssl does not start (AH01958); add at server level: "
            "SSLStaplingCache \"shmcb:%s(512000)\"",
            ap_runtime_dir_relative(report->pool, "stapling_cache")),
            &no_advice);
    }
}

/* ----- whom this server has to reach ----- */

const char *staple_preflight_target_text(const preflight_target_t *target,
                                         apr_pool_t *p)
{
    return apr_psprintf(p, strchr(target->host, ':') ? "[%s]:%u" : "%s:%u",
                        target->host, (unsigned)target->port);
}

static void add_target(preflight_t *report, const staple_url_t *url,
                       int is_proxy)
{
    const char *key = apr_psprintf(report->pool, "%s:%u", url->host,
                                   (unsigned)url->port);
    preflight_target_t *target = apr_hash_get(report->by_target, key,
                                              APR_HASH_KEY_STRING);

    if (!target) {
        target = apr_pcalloc(report->pool, sizeof(*target));
        target->host = url->host;
        target->port = url->port;
        target->is_proxy = is_proxy;
        apr_hash_set(report->by_target, key, APR_HASH_KEY_STRING, target);
        APR_ARRAY_PUSH(report->targets, preflight_target_t *) = target;
    }
    target->uses++;
}

static void add_urls(preflight_t *report, const staple_cert_t *cert,
                     const apr_array_header_t *urls)
{
    const char *proxy = cert->policy->proxy;
    staple_url_t url;
    int i;

    for (i = 0; i < urls->nelts; i++) {
        if (staple_url_parse(&url, proxy ? proxy
                             : APR_ARRAY_IDX(urls, i, const char *),
                             report->pool) == STAPLE_URL_OK) {
            add_target(report, &url, proxy != NULL);
        }
    }
}

static int by_name(const void *av, const void *bv)
{
    const preflight_target_t *a = *(const preflight_target_t *const *)av;
    const preflight_target_t *b = *(const preflight_target_t *const *)bv;
    int order = strcmp(a->host, b->host);

    return order ? order : (int)a->port - (int)b->port;
}

/* Nobody is asked about a certificate that has expired. */
static void look_at_targets(preflight_t *report)
{
    const apr_array_header_t *list = staple_cert_list(report->conf->registry);
    int i;

    for (i = 0; i < list->nelts; i++) {
        const staple_cert_t *cert = APR_ARRAY_IDX(list, i, staple_cert_t *);

        if (cert->scope == STAPLE_CERT_APPLIES
            && cert->not_after > report->now) {
            add_urls(report, cert, cert->urls);
            if (!cert->subject) {
                add_urls(report, cert, cert->issuer_urls);
            }
        }
    }
    qsort(report->targets->elts, (size_t)report->targets->nelts,
          sizeof(preflight_target_t *), by_name);
    staple_preflight_names(report);
}

/* ----- the ring ----- */

/* What keeps a start from having its file there. */
static void look_at_place(preflight_t *report, apr_size_t size)
{
    const char *why = staple_cache_foresee(report->ring.path, size,
                                           report->pool);

    if (why) {
        staple_preflight_add(report, "the ring", apr_psprintf(
            report->pool, "no ring file can be kept there: %s; responses will "
            "not survive a stop", why), &no_advice);
    }
}

static void look_at_ring(preflight_t *report)
{
    static const staple_state_advice_t advice = {
        "this server's configuration",
        "raise the size in SSLStaplingCache, or set StapleCacheGrow on" };
    const staple_main_conf_t *global
        = staple_config_of(report->conf->server)->main;
    preflight_ring_t *ring = &report->ring;
    int is_small;

    ring->path = global->cache.path;
    ring->size = global->cache.size;
    ring->certificates = staple_cert_count_stapled(report->conf->registry);
    ring->needed = staple_cache_size_for(ring->certificates);
    is_small = ring->needed > ring->size;
    ring->grows = is_small && global->cache_grow;
    if (is_small && !ring->grows) {
        staple_preflight_add(report, "the ring", "too small, and "
                             "StapleCacheGrow is off: some certificates are "
                             "left out", &advice);
    }
    if (ring->certificates && ring->path) {
        look_at_place(report, ring->grows
                      ? ring->needed
                      : staple_cache_size_useful(ring->size,
                                                 ring->certificates));
    }
}

/* ----- the whole ----- */

static int is_asked(const char *define)
{
    return ap_exists_config_define(define);
}

int staple_preflight_is_wanted(void)
{
    return is_asked("DUMP_STAPLING") || is_asked("DUMP_STAPLING_JSON")
           || is_asked("PROBE_STAPLING");
}

static preflight_t *make_report(const staple_preflight_conf_t *conf,
                                apr_pool_t *p)
{
    preflight_t *report = apr_pcalloc(p, sizeof(*report));

    report->magic = PREFLIGHT_MAGIC;
    report->conf = conf;
    report->pool = p;
    report->now = apr_time_now();
    report->written = staple_sslconf_read(conf->server, p);
    report->notes = apr_array_make(p, 1, sizeof(const char *));
    report->hosts = apr_array_make(p, 16, sizeof(preflight_host_t));
    report->by_target = apr_hash_make(p);
    report->links = apr_hash_make(p);
    report->targets = apr_array_make(p, 8, sizeof(preflight_target_t *));
    report->answers = apr_array_make(p, 16, sizeof(preflight_answer_t));
    report->troubles = apr_array_make(p, 4, sizeof(preflight_trouble_t *));
    return report;
}

static void look_at_hosts(preflight_t *report)
{
    const apr_array_header_t *servers = report->written->servers;
    int i;

    for (i = 0; i < servers->nelts; i++) {
        const staple_sslconf_server_t *tls
            = &APR_ARRAY_IDX(servers, i, staple_sslconf_server_t);

        if (tls->is_on > 0) {
            look_at_host(report, tls);
        }
    }
}

int staple_preflight_report(const staple_preflight_conf_t *conf, apr_pool_t *p)
{
    preflight_t *report = make_report(conf, p);

    look_at_owner(report);
    look_at_hosts(report);
    look_at_targets(report);
    look_at_ring(report);
    if (is_asked("PROBE_STAPLING")) {
        staple_preflight_probe(report);
    }
    if (is_asked("DUMP_STAPLING_JSON")) {
        staple_preflight_print_json(report);
    }
    else {
        staple_preflight_print(report);
    }
    return report->troubles->nelts;
}
