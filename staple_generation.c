/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What a start or restart builds: the ring of the generation that begins.
 *
 * The one idea: pools and globals die with a generation, the parent process
 * does not. It keeps the address of the last ring's memory, its descriptor, and
 * the sockets in which the file's waits, and the next ring is seeded from
 * there; only a first start has to trust a file. The children of the old
 * generation go on with the old memory until they end.
 */

#include <string.h>
#include <unistd.h>

#include <httpd.h>
#include <ap_listen.h>
#include <ap_mpm.h>
#include <http_config.h>
#include <http_core.h>
#include <http_log.h>
#include <apr_strings.h>

#include "staple_generation.h"
#include "staple_magic.h"
#include "staple_share.h"
#include "staple_state.h"
#include "staple_text.h"

APLOG_USE_MODULE(staple);

/* ----- what is kept ----- */

/* What the parent keeps from one generation to the next. */
typedef struct retained_t {
    staple_cache_kept_t kept; /* of the ring; no base: there is none */
    char trouble[256];        /* why there is no file, as it was logged */
    unsigned char identity[STAPLE_SHARE_IDENTITY_LEN]; /* random */
} retained_t;

/* The module may be another one after a restart: the key changes with what is
 * kept. */
_Static_assert(sizeof(void *) != 8 || sizeof(retained_t) == 344,
               "what is kept has changed: count the key on");

static retained_t *retained_get(void)
{
    static const char key[] = "mod_staple:3";
    retained_t *retained = ap_retained_data_get(key);

    if (!retained) {
        retained = ap_retained_data_create(key, sizeof(*retained));
        staple_cache_keep_nothing(&retained->kept);
        ap_random_insecure_bytes(retained->identity,
                                 sizeof(retained->identity));
    }
    return retained;
}

const unsigned char *staple_generation_identity(void)
{
    return retained_get()->identity;
}


/* Whether this reason is another than the last one, which is remembered. */
static int is_news(const char *why)
{
    retained_t *retained = retained_get();

    if (!strncmp(retained->trouble, why, sizeof(retained->trouble) - 1)) {
        return 0;
    }
    apr_cpystrn(retained->trouble, why, sizeof(retained->trouble));
    return 1;
}

/* ----- what is said ----- */

static void log_scopes(const apr_array_header_t *list, const server_rec *s,
                       apr_pool_t *p)
{
    int counts[STAPLE_CERT_SCOPES] = { 0 };
    const char *text = "";
    int scope, i;

    for (i = 0; i < list->nelts; i++) {
        counts[APR_ARRAY_IDX(list, i, staple_cert_t *)->scope]++;
    }
    for (scope = STAPLE_CERT_APPLIES + 1; scope <= STAPLE_CERT_NO_ISSUER;
         scope++) {
        if (counts[scope]) {
            text = apr_psprintf(p, "%s%s%d because %s", text,
                                *text ? ", " : "", counts[scope],
                                staple_cert_scope_text(
                                    (staple_cert_scope_e)scope));
        }
    }
    if (*text && !counts[STAPLE_CERT_APPLIES]) {
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, s, "STP0321: SSLUseStapling "
                     "is on, but no certificate can be stapled: certificates "
                     "without a staple: %s", text);
    }
    else if (*text) {
        ap_log_error(APLOG_MARK, APLOG_INFO, 0, s,
                     "STP0103: certificates without a staple: %s", text);
    }
}

/* Certificates that are not what they should be, as opposed to those of a CA
 * without OCSP. */
static void log_faulty(const apr_array_header_t *list, const server_rec *s)
{
    int i;

    for (i = 0; i < list->nelts; i++) {
        const staple_cert_t *cert = APR_ARRAY_IDX(list, i, staple_cert_t *);
        const char *host = APR_ARRAY_IDX(cert->hosts, 0, const char *);
        const server_rec *site = cert->server ? cert->server : s;

        if (staple_cert_is_faulty(cert)) {
            ap_log_error(APLOG_MARK, APLOG_WARNING, 0, site, "STP0160: %s "
                         "(%s): the certificate is not stapled: %s", cert->name,
                         host, staple_cert_scope_text(cert->scope));
        }
        if (cert->urls_refused) {
            ap_log_error(APLOG_MARK, APLOG_INFO, 0, site, "STP0161: %s (%s): "
                         "%d of the OCSP URIs in the certificate are not "
                         "asked: they are not valid, or longer than 1 KB, or "
                         "more than eight", cert->name, host,
                         cert->urls_refused);
        }
    }
}

/* Clients refuse such a certificate, and no response will ever come. Returns
 * how many there are. */
static int log_hopeless(const apr_array_header_t *list, const server_rec *s)
{
    int count = 0;
    int i;

    for (i = 0; i < list->nelts; i++) {
        const staple_cert_t *cert = APR_ARRAY_IDX(list, i, staple_cert_t *);

        if (cert->is_must_staple && !cert->is_of_chain
            && cert->scope != STAPLE_CERT_APPLIES) {
            count++;
            ap_log_error(APLOG_MARK, APLOG_ERR, 0,
                         cert->server ? cert->server : s, "STP0117: "
                         "%s (%s): the certificate is must-staple, but %s: "
                         "clients refuse it; %s",
                         cert->name,
                         APR_ARRAY_IDX(cert->hosts, 0, const char *),
                         staple_cert_scope_text(cert->scope),
                         cert->scope == STAPLE_CERT_NO_ISSUER
                         ? "append that to its chain"
                         : "replace it, or give it a StapleResponseFile or "
                           "SSLStaplingForceURL");
        }
    }
    return count;
}

int staple_generation_log_certs(const staple_cert_registry_t *registry,
                                const server_rec *s, apr_pool_t *ptemp)
{
    const apr_array_header_t *list = staple_cert_list(registry);

    log_scopes(list, s, ptemp);
    log_faulty(list, s);
    return log_hopeless(list, s);
}

static const char *path_text(const staple_cache_spec_t *spec)
{
    return spec->path ? spec->path : "memory";
}

#define IN_MEMORY "the responses are in memory still"
#define ALL_ANEW "all responses are fetched anew"

static void log_unused(const char *path, const staple_cache_report_t *report,
                       const char *consequence, const server_rec *s)
{
    ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s, "STP0104: the ring file %s "
                 "was not used: it %s; %s", path, report->old_file,
                 consequence);
}

/* What comes of it at work. */
static const char *consequence_of(const staple_cache_t *cache)
{
    staple_cache_usage_t usage;

    staple_cache_usage(cache, &usage);
    return usage.records ? IN_MEMORY : ALL_ANEW;
}

/* An issuer without room is no certificate that is not stapled: it is fetched
 * again. */
static apr_size_t count_without_room(const apr_array_header_t *list)
{
    apr_size_t count = 0;
    int i;

    for (i = 0; i < list->nelts; i++) {
        const staple_cert_t *cert = APR_ARRAY_IDX(list, i, staple_cert_t *);

        count += cert->scope == STAPLE_CERT_APPLIES && cert->slot < 0;
    }
    return count;
}

/* @param count the certificates that OCSP applies to
 * @param without those of them that have no room in the ring */
static void log_ring(const staple_main_conf_t *conf,
                     const staple_cache_report_t *report, apr_size_t count,
                     apr_size_t without, const server_rec *s)
{
    const char *path = path_text(&conf->cache);

    if (report->old_file) {
        log_unused(path, report, report->seed == STAPLE_CACHE_SEED_MEMORY
                                 ? IN_MEMORY : ALL_ANEW, s);
    }
    if (report->new_file) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s, "STP0105: no ring file "
                     "can be kept at %s: %s; responses stay in memory and "
                     "will not survive a stop", path, report->new_file);
    }
    if (report->weaker) {
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, s, "STP0145: on this "
                     "system a child process is able to write to the "
                     "ring: %s", report->weaker);
    }
    if (without) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s, "STP0106: %"
                     APR_SIZE_T_FMT " of %" APR_SIZE_T_FMT " certificates do "
                     "not fit into the ring of %" APR_SIZE_T_FMT " bytes and "
                     "are not stapled; set SSLStaplingCache \"shmcb:%s(%"
                     APR_SIZE_T_FMT ")\" or StapleCacheGrow on",
                     without, count, report->size_granted, path,
                     report->size_wanted);
    }
    else if (report->size_granted < conf->cache.size) {
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, s, "STP0151: the ring of %"
                     APR_SIZE_T_FMT " bytes is larger than %" APR_SIZE_T_FMT
                     " certificate%s can use; it has %" APR_SIZE_T_FMT
                     " bytes", conf->cache.size, count,
                     staple_text_plural((apr_int64_t)count),
                     report->size_granted);
    }
    else if (report->size_granted > conf->cache.size) {
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, s, "STP0107: the ring has "
                     "grown from %" APR_SIZE_T_FMT " to %" APR_SIZE_T_FMT
                     " bytes for %" APR_SIZE_T_FMT " certificate%s; set "
                     "SSLStaplingCache \"shmcb:%s(%" APR_SIZE_T_FMT ")\" to "
                     "have it so from the start", conf->cache.size,
                     report->size_granted, count,
                     staple_text_plural((apr_int64_t)count), path,
                     report->size_granted);
    }
}

static const char *seed_text(const staple_cache_report_t *report,
                             apr_pool_t *p)
{
    switch (report->seed) {
    case STAPLE_CACHE_SEED_MEMORY:
        return apr_psprintf(p, "%" APR_SIZE_T_FMT " response%s taken over",
                            report->seeded,
                            staple_text_plural((apr_int64_t)report->seeded));
    case STAPLE_CACHE_SEED_FILE:
        return apr_psprintf(p, "%" APR_SIZE_T_FMT " response%s taken over from "
                            "before the stop", report->seeded,
                            staple_text_plural((apr_int64_t)report->seeded));
    default:
        return "starting empty";
    }
}

static void log_summary(const staple_main_conf_t *conf,
                        const staple_cache_report_t *report,
                        apr_size_t stapled, const server_rec *s, apr_pool_t *p)
{
    ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, s, "STP0101: mod_staple/"
                 STAPLE_VERSION " staples %" APR_SIZE_T_FMT " certificate%s; "
                 "ring of %" APR_SIZE_T_FMT " bytes in %s, %s%s%s", stapled,
                 staple_text_plural((apr_int64_t)stapled),
                 report->size_granted,
                 report->new_file ? "memory" : path_text(&conf->cache),
                 seed_text(report, p), conf->share ? "; shared through " : "",
                 conf->share ? staple_share_name(conf->share) : "");
}

/* ----- the ring ----- */

/* How long the parent waits for the file system of the ring's file: at a start,
 * which has something to say of it, and while the server runs. */
#define START_PATIENCE apr_time_from_sec(1)
#define WORK_PATIENCE apr_time_from_msec(100)

static int is_restart(void)
{
    int generation = 0;

    return ap_mpm_query(AP_MPMQ_GENERATION, &generation) == APR_SUCCESS
           && generation > 0;
}

/* A helper that waits for a disk does not keep the ports. */
static void on_fork(void)
{
    ap_close_listeners();
}

/* What the ring calls a certificate: its first virtual host, without the port
 * that is usual; where that has no name, and for a CA's, as the certificate
 * calls itself. */
static const char *name_of(const staple_cert_t *cert, apr_pool_t *p)
{
    static const char usual[] = ":443", nameless[] = "_default_:";
    const char *host = APR_ARRAY_IDX(cert->hosts, 0, const char *);
    apr_size_t len = strlen(host), end = sizeof(usual) - 1;

    if (cert->is_of_chain
        || !strncmp(host, nameless, sizeof(nameless) - 1)) {
        return cert->name;
    }
    return len > end && !strcmp(host + len - end, usual)
           ? apr_pstrmemdup(p, host, len - end) : host;
}

/* What the ring says of a certificate to whoever reads its file. */
static staple_cache_about_t about(const staple_cert_t *cert, apr_pool_t *p)
{
    staple_cache_about_t about;
    staple_state_traits_t traits;

    staple_state_traits_of(&traits, cert);
    about.name = name_of(cert, p);
    about.not_after = cert->not_after;
    about.traits = staple_state_pack(&traits);
    return about;
}

/* What the ring is made of, with room for all certificates and their issuers
 * in each array. */
typedef struct members_t {
    unsigned char (*ids)[STAPLE_ID_LEN];
    staple_cache_about_t *about;
    apr_size_t count;
    staple_cache_other_t *others;
    apr_size_t others_count;
} members_t;

static void add_member(members_t *members, const staple_cert_t *cert,
                       apr_pool_t *p)
{
    members->about[members->count] = about(cert, p);
    memcpy(members->ids[members->count++], cert->id, STAPLE_ID_LEN);
    if (!cert->subject) {
        members->about[members->count].name
            = apr_pstrcat(p, "issuer of ", cert->name, NULL);
        staple_cert_issuer_id(cert->id, members->ids[members->count++]);
    }
}

static void add_other(members_t *members, const staple_cert_t *cert,
                      apr_pool_t *p)
{
    staple_cache_other_t *other = &members->others[members->others_count++];

    other->id = cert->id;
    other->about = about(cert, p);
}

/* The certificates that have something to staple get a slot, the others are
 * listed: first those that somebody should look at. */
static void collect(members_t *members, const apr_array_header_t *list,
                    apr_pool_t *p)
{
    apr_size_t most = 2 * ((apr_size_t)list->nelts + 1);
    int i, are_bad;

    memset(members, 0, sizeof(*members));
    members->ids = apr_pcalloc(p, most * STAPLE_ID_LEN);
    members->about = apr_pcalloc(p, most * sizeof(*members->about));
    members->others = apr_pcalloc(p, most * sizeof(*members->others));
    for (i = 0; i < list->nelts; i++) {
        const staple_cert_t *cert = APR_ARRAY_IDX(list, i, staple_cert_t *);

        if (cert->scope == STAPLE_CERT_APPLIES) {
            add_member(members, cert, p);
        }
    }
    for (are_bad = 1; are_bad >= 0; are_bad--) {
        for (i = 0; i < list->nelts; i++) {
            const staple_cert_t *cert = APR_ARRAY_IDX(list, i,
                                                      staple_cert_t *);
            int is_bad = cert->is_must_staple || staple_cert_is_faulty(cert)
                         || cert->scope == STAPLE_CERT_NO_ISSUER;

            if (cert->scope != STAPLE_CERT_APPLIES && is_bad == are_bad) {
                add_other(members, cert, p);
            }
        }
    }
}

/* Those that were taken over. */
static apr_size_t count_issuers(const apr_array_header_t *list,
                                const staple_cache_t *cache)
{
    apr_size_t count = 0, len;
    unsigned char none[1];
    int i;

    for (i = 0; i < list->nelts; i++) {
        int slot = APR_ARRAY_IDX(list, i, staple_cert_t *)->issuer_slot;

        count += slot >= 0
                 && (staple_cache_read(cache, slot, none, 0, &len, NULL)
                     == APR_ENOSPC
                     || staple_cache_read_pending(cache, slot, none, 0, &len,
                                                  NULL) == APR_ENOSPC);
    }
    return count;
}

static void assign_slots(const apr_array_header_t *list,
                         const staple_cache_t *cache)
{
    unsigned char id[STAPLE_ID_LEN];
    int i;

    for (i = 0; i < list->nelts; i++) {
        staple_cert_t *cert = APR_ARRAY_IDX(list, i, staple_cert_t *);

        if (cert->scope == STAPLE_CERT_APPLIES) {
            cert->slot = staple_cache_find(cache, cert->id);
            staple_cert_issuer_id(cert->id, id);
            cert->issuer_slot = cert->subject ? -1
                                              : staple_cache_find(cache, id);
        }
    }
}

#define RING_MAGIC 0x52494E47u

/* What the callbacks need of a ring. */
typedef struct ring_t {
    staple_magic_t magic;
    staple_cache_t *cache;
    const server_rec *server;
    pid_t process; /* that made this */
} ring_t;

static ring_t *make_ring(staple_cache_t *cache, const server_rec *s,
                         apr_pool_t *p)
{
    ring_t *ring = apr_palloc(p, sizeof(*ring));

    ring->magic = RING_MAGIC;
    ring->cache = cache;
    ring->server = s;
    ring->process = getpid();
    return ring;
}

/* The refresher has ended, and no other one will write this ring. The module
 * may be gone in the next generation: then nobody takes from its children what
 * it would take to write the memory that a later one is seeded from. */
static apr_status_t on_end(void *data)
{
    const ring_t *ring = STAPLE_CAST(const ring_t, RING_MAGIC, data);

    if (ring->process != getpid()) { /* somebody else's fork */
        return APR_SUCCESS;
    }
    staple_cache_end_writers(ring->cache);
    retained_get()->kept = *staple_cache_kept(ring->cache);
    return APR_SUCCESS;
}

/* What is to be made for them, after a generation of which this is kept. */
static staple_cache_conf_t ring_for(const members_t *members,
                                    const staple_main_conf_t *conf,
                                    staple_cache_kept_t *before)
{
    staple_cache_conf_t ring;

    memset(&ring, 0, sizeof(ring));
    ring.path = conf->cache.path;
    ring.size = conf->cache.size;
    ring.may_grow = conf->cache_grow;
    ring.ids = (const unsigned char (*)[STAPLE_ID_LEN])members->ids;
    ring.about = members->about;
    ring.ids_count = members->count;
    ring.others = members->others;
    ring.others_count = members->others_count;
    ring.previous = before->ring.base ? before : NULL;
    ring.is_restart = is_restart();
    ring.patience = START_PATIENCE;
    ring.on_fork = on_fork;
    return ring;
}

apr_status_t staple_generation_make_ring(staple_cache_t **cache,
                                         const staple_cert_registry_t *registry,
                                         const staple_main_conf_t *conf,
                                         const server_rec *s, apr_pool_t *p,
                                         apr_pool_t *ptemp)
{
    const apr_array_header_t *list = staple_cert_list(registry);
    retained_t *retained = retained_get();
    staple_cache_kept_t before = retained->kept;
    members_t members;
    staple_cache_report_t report;
    staple_cache_conf_t ring;
    apr_size_t count = staple_cert_count_stapled(registry), without;
    apr_status_t rv;

    *cache = NULL;
    collect(&members, list, ptemp);
    if (!members.count) { /* what is kept is for a later generation */
        return APR_SUCCESS;
    }
    ring = ring_for(&members, conf, &before);
    rv = staple_cache_create(cache, &ring, &report, p);
    staple_cache_release(&before);
    retained->kept = *cache && !rv ? *staple_cache_kept(*cache) : before;
    if (rv) {
        return rv;
    }
    apr_pool_cleanup_register(p, make_ring(*cache, s, p), on_end,
                              apr_pool_cleanup_null);
    (void)is_news(report.new_file ? report.new_file : "");
    assign_slots(list, *cache);
    without = count_without_room(list);
    log_ring(conf, &report, count, without, s);
    report.seeded -= count_issuers(list, *cache);
    log_summary(conf, &report, count - without, s, ptemp);
    return APR_SUCCESS;
}

const char *staple_generation_ring_file(const staple_cache_t *cache)
{
    return *retained_get()->trouble ? NULL : staple_cache_path(cache);
}

/* ----- who writes it ----- */

static void on_copied(void *baton, apr_status_t rv)
{
    const ring_t *ring = STAPLE_CAST(const ring_t, RING_MAGIC, baton);
    const char *path = staple_cache_path(ring->cache);

    if (rv) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, rv, ring->server, "STP0140: "
                     "the ring file %s cannot be written; responses stay in "
                     "memory and will not survive a stop; it is tried again "
                     "each second", path);
        return;
    }
    ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, ring->server, "STP0141: the "
                 "ring file %s is complete again", path);
}

apr_status_t staple_generation_begin_writing(staple_cache_t *cache,
                                             const server_rec *s,
                                             apr_pool_t *p)
{
    apr_status_t rv = staple_cache_begin_writing(cache);

    if (rv) {
        return rv;
    }
    rv = staple_cache_begin_copying(cache, on_copied, make_ring(cache, s, p),
                                    p);
    if (rv) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, rv, s, "STP0142: there is no "
                     "thread that copies the ring to %s; responses stay in "
                     "memory and will not survive a stop",
                     staple_cache_path(cache));
    }
    return APR_SUCCESS;
}

void staple_generation_end_writing(staple_cache_t *cache,
                                   apr_interval_time_t patience)
{
    (void)staple_cache_end_copying(cache, patience);
}

void staple_generation_only_read(staple_cache_t *cache)
{
    staple_cache_only_read(cache ? staple_cache_kept(cache)
                                 : &retained_get()->kept);
}

static void log_lost(const char *path, const char *why, const server_rec *s)
{
    if (is_news(why)) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s, "STP0143: the ring file "
                     "%s is gone, and none can be kept there: %s; responses "
                     "stay in memory and will not survive a stop", path, why);
    }
}

static void log_late(const char *path, const server_rec *s)
{
    if (is_news("late")) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s, "STP0320: a new ring "
                     "file was to be made at %s, and its file system does not "
                     "answer; until it does, responses stay in memory and will "
                     "not survive a stop", path);
    }
}

void staple_generation_check_file(staple_cache_t *cache, const server_rec *s,
                                  apr_pool_t *ptemp)
{
    const char *path = staple_cache_path(cache);
    staple_cache_report_t report;
    staple_cache_conf_t conf;
    staple_cache_file_e file;

    memset(&conf, 0, sizeof(conf));
    conf.patience = WORK_PATIENCE;
    conf.on_fork = on_fork;
    file = staple_cache_check_file(cache, &conf, &report, ptemp);
    if (report.old_file) {
        log_unused(path, &report, consequence_of(cache), s);
    }
    switch (file) {
    case STAPLE_CACHE_FILE_MADE:
        (void)is_news("");
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, s, "STP0144: a new ring file "
                     "was made at %s", path);
        break;
    case STAPLE_CACHE_FILE_LOST:
        log_lost(path, report.new_file, s);
        break;
    case STAPLE_CACHE_FILE_LATE:
        log_late(path, s);
        break;
    case STAPLE_CACHE_FILE_FINE:
        break;
    }
    retained_get()->kept = *staple_cache_kept(cache);
}
