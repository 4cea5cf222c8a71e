/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What is done again and again, for callgrind to count (t/022-counts.t):
 *
 *   counts handshake BYTES TIMES   what mod_ssl asks for, with such a response
 *   counts judge TIMES             a response of the issuer's is judged
 *   counts idle CERTIFICATES STEPS the refresher, when nothing is due
 *   counts copy CERTIFICATES ROUNDS  what the ring's file wants meanwhile
 *   counts registry CERTIFICATES HOSTS  prints the bytes of memory that these
 *                                  take: so many certificates, and so many
 *                                  more hosts of the first (not for callgrind)
 *   counts waiting CERTIFICATES    the same of the refresher, when so many wait
 *                                  for their turn at a responder
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <httpd.h>
#include <http_config.h>
#include <http_log.h>
#include <ap_provider.h>
#include <apr_strings.h>

#include "staple_cert.h"
#include "staple_handshake.h"
#include "staple_refresh.h"
#include "staple_rules.h"
#include "../../cache/layout.h"
#include "../unit/pki.h"

#define DAY ((apr_interval_time_t)86400 * APR_USEC_PER_SEC)
#define DER_MAX 16384
#define ID_LEN 20

static apr_pool_t *pool;

/* ----- what the module has of httpd ----- */

module AP_MODULE_DECLARE_DATA staple_module;

void ap_log_error_(const char *file, int line, int module_index, int level,
                   apr_status_t status, const server_rec *s, const char *fmt,
                   ...)
{
    (void)file;
    (void)line;
    (void)module_index;
    (void)level;
    (void)status;
    (void)s;
    (void)fmt;
}

void *ap_lookup_provider(const char *group, const char *name,
                         const char *version)
{
    (void)group;
    (void)name;
    (void)version;
    return NULL;
}

apr_array_header_t *ap_list_provider_names(apr_pool_t *p, const char *group,
                                           const char *version)
{
    (void)group;
    (void)version;
    return apr_array_make(p, 0, sizeof(ap_list_provider_names_t));
}

/* ----- certificates and a ring ----- */

typedef struct scene_t {
    pki_id_t ca, leaf;
    staple_cert_registry_t *registry;
    staple_cache_t *cache;
    apr_size_t count;
} scene_t;

static staple_cert_policy_t usual_policy(void)
{
    staple_cert_policy_t policy;

    memset(&policy, 0, sizeof(policy));
    policy.times.skew = 300 * APR_USEC_PER_SEC;
    policy.times.max_age = -1;
    policy.times.default_age = DAY / 2;
    policy.timeout = 10 * APR_USEC_PER_SEC;
    policy.refresh_age = -1;
    policy.retry_cap = 600 * APR_USEC_PER_SEC;
    policy.response_files = apr_array_make(pool, 0, sizeof(const char *));
    return policy;
}

static void make_pki(scene_t *scene)
{
    pki_want_t ca = { .name = "CA", .extensions = { PKI_CA } };
    pki_want_t leaf = { .name = "leaf", .issuer = &scene->ca,
                        .extensions = { "authorityInfoAccess",
                                        "OCSP;URI:http://127.0.0.1:1/" } };

    scene->ca = pki_make(&ca, pool);
    scene->leaf = pki_make(&leaf, pool);
}

static void add(scene_t *scene, staple_cert_use_t *use, apr_size_t number)
{
    char id[ID_LEN + 1], host[32];
    const char *reason;

    apr_snprintf(id, sizeof(id), "%0*lu", ID_LEN, (unsigned long)number);
    apr_snprintf(host, sizeof(host), "host%06d.test:443", use->rank);
    use->id = id;
    use->host = host;
    if (!staple_cert_add(scene->registry, use, &reason)) {
        fprintf(stderr, "counts: %s\n", reason);
        exit(1);
    }
    use->rank++;
}

/* The same certificate under many ids: nobody here minds. */
static void make_registry(scene_t *scene, apr_size_t hosts)
{
    staple_cert_policy_t policy = usual_policy();
    staple_cert_use_t use = { .id_len = ID_LEN, .policy = &policy };
    apr_size_t i;

    use.pem = apr_pstrcat(pool,
                          pki_pem(&(pki_id_t){ scene->leaf.cert, NULL }, pool),
                          pki_pem(&(pki_id_t){ scene->ca.cert, NULL }, pool),
                          NULL);
    scene->registry = staple_cert_registry_make(pool);
    for (i = 0; i < scene->count; i++) {
        add(scene, &use, i);
    }
    for (i = 0; i < hosts; i++) {
        add(scene, &use, 0);
    }
    staple_cert_registry_finish(scene->registry);
}

static const staple_cert_t *cert_at(const scene_t *scene, apr_size_t i)
{
    return APR_ARRAY_IDX(staple_cert_list(scene->registry), (int)i,
                         staple_cert_t *);
}

static void make_ring(scene_t *scene, const char *path, apr_size_t der_len)
{
    unsigned char (*ids)[STAPLE_ID_LEN]
        = apr_pcalloc(pool, (scene->count + 1) * STAPLE_ID_LEN);
    staple_cache_conf_t conf = { .path = path, .may_grow = 1,
                                 .ids_count = scene->count };
    staple_cache_report_t report;
    apr_size_t i;

    for (i = 0; i < scene->count; i++) {
        memcpy(ids[i], cert_at(scene, i)->id, STAPLE_ID_LEN);
    }
    conf.ids = (const unsigned char (*)[STAPLE_ID_LEN])ids;
    conf.size = scene->count * (der_len + 1024) + 65536;
    if (staple_cache_create(&scene->cache, &conf, &report, pool)
        || staple_cache_begin_writing(scene->cache)) {
        fprintf(stderr, "counts: no ring\n");
        exit(1);
    }
}

static void assign_slots(scene_t *scene)
{
    apr_size_t i;

    for (i = 0; i < scene->count; i++) {
        staple_cert_t *cert = (staple_cert_t *)cert_at(scene, i);

        cert->slot = staple_cache_find(scene->cache, cert->id);
    }
}

/* Valid for a week, so nothing is due. */
static void fill_ring(scene_t *scene, apr_size_t der_len)
{
    static const unsigned char der[DER_MAX] = { 0x30 };
    apr_time_t now = apr_time_now();
    staple_cache_meta_t meta = { .this_update = now - DAY / 24,
                                 .next_update = now + 7 * DAY,
                                 .fetched_at = now };
    apr_size_t i;

    for (i = 0; i < scene->count; i++) {
        if (staple_cache_store(scene->cache, cert_at(scene, i)->slot, der,
                               der_len, &meta)) {
            fprintf(stderr, "counts: no room\n");
            exit(1);
        }
    }
}

static scene_t make_scene(apr_size_t count, const char *path,
                          apr_size_t der_len)
{
    scene_t scene = { .count = count };

    make_pki(&scene);
    make_registry(&scene, 0);
    make_ring(&scene, path, der_len);
    assign_slots(&scene);
    if (der_len) {
        fill_ring(&scene, der_len);
    }
    return scene;
}

/* ----- a handshake ----- */

static void take(const unsigned char *der, apr_size_t len, void *userdata)
{
    (void)der;
    *(apr_size_t *)userdata = len;
}

static int count_handshakes(apr_size_t der_len, int times)
{
    scene_t scene = make_scene(100, NULL, der_len);
    const char *id = apr_psprintf(pool, "%0*d", ID_LEN, 42);
    apr_size_t got = 0;

    while (times-- > 0) {
        const staple_cert_t *cert = staple_cert_find(scene.registry, id,
                                                     ID_LEN);

        staple_handshake_answer(scene.cache, cert, take, &got);
    }
    return got == der_len;
}

/* ----- a response ----- */

static int count_judgements(int times)
{
    scene_t scene = { .count = 1 };
    apr_time_t now = apr_time_now();
    pki_response_t made = { .signer = &scene.ca };
    staple_ocsp_verdict_t verdict;
    pki_der_t der;

    make_pki(&scene);
    make_registry(&scene, 0);
    made.singles[0].leaf = &scene.leaf;
    made.singles[0].issuer = &scene.ca;
    made.singles[0].this_update = pki_time(now, pool);
    made.singles[0].next_update = pki_time(now + DAY, pool);
    der = pki_respond(&made, pool);
    while (times-- > 0) {
        if (!staple_rules_is_believed(cert_at(&scene, 0), der.bytes, der.len,
                                      now, &verdict)) {
            return 0;
        }
    }
    return 1;
}

/* ----- the refresher ----- */

static void beat(void *baton)
{
    (void)baton;
}

static int is_ending(void *baton)
{
    (void)baton;
    return 0;
}

static void mark(void *baton, int thread, int slot)
{
    (void)baton;
    (void)thread;
    (void)slot;
}

static apr_time_t set_aside(void *baton, int slot, int *is_new)
{
    (void)baton;
    (void)slot;
    *is_new = 0;
    return 0;
}

static staple_refresh_t *make_refresh(const scene_t *scene)
{
    staple_refresh_conf_t conf = {
        .cache = scene->cache, .registry = scene->registry, .beat = beat,
        .is_ending = is_ending, .mark = mark, .set_aside = set_aside,
        .looked = beat,
        .has_crashed = is_ending,
        .fetch = { .concurrency = 32, .max_body = STAPLE_CACHE_DER_MAX,
                   .user_agent = "counts" }
    };
    server_rec *server = apr_pcalloc(pool, sizeof(*server));
    staple_refresh_t *refresh;

    conf.server = server;
    if (staple_refresh_create(&refresh, &conf, pool)) {
        fprintf(stderr, "counts: no refresh\n");
        exit(1);
    }
    return refresh;
}

static int count_idle(apr_size_t count, int steps)
{
    scene_t scene = make_scene(count, NULL, 500);
    staple_refresh_t *refresh = make_refresh(&scene);

    while (steps-- > 0) {
        staple_refresh_step(refresh, APR_USEC_PER_SEC);
    }
    return 1;
}

static int count_copies(apr_size_t count, int rounds)
{
    char path[] = "/tmp/staple-counts-XXXXXX";
    int fd = mkstemp(path), is_good = 1;
    scene_t scene;

    close(fd);
    unlink(path);
    scene = make_scene(count, path, 500);
    while (rounds-- > 0) {
        is_good &= !staple_cache_copy_round(scene.cache, 0, pool);
    }
    unlink(path);
    return is_good;
}

/* Memory of this process alone; pools come from mmap, which no tool counts. */
static long private_bytes(void)
{
    FILE *in = fopen("/proc/self/status", "r");
    char line[128];
    long kilobytes = 0;

    while (in && fgets(line, sizeof(line), in)
           && sscanf(line, "RssAnon: %ld", &kilobytes) != 1) {
        continue;
    }
    if (in) {
        fclose(in);
    }
    return kilobytes * 1024;
}

/* What OpenSSL keeps from its first certificate on is taken before. */
static int count_registry(apr_size_t count, apr_size_t hosts)
{
    scene_t first = { .count = 10 }, scene = { .count = count };
    long before;

    make_pki(&first);
    make_registry(&first, 0);
    scene.ca = first.ca;
    scene.leaf = first.leaf;
    before = private_bytes();
    make_registry(&scene, hosts);
    printf("%ld\n", private_bytes() - before);
    return before > 0;
}

/* One step sends all of them off, and ends before many have had their turn. */
static int count_waiting(apr_size_t count)
{
    scene_t scene = make_scene(count, NULL, 0);
    long before = private_bytes();

    staple_refresh_step(make_refresh(&scene), 1);
    printf("%ld\n", private_bytes() - before);
    return before > 0;
}

int main(int argc, char **argv)
{
    const char *what = argc > 2 ? argv[1] : "";
    int first = argc > 2 ? atoi(argv[2]) : 0;
    int second = argc > 3 ? atoi(argv[3]) : 0;
    int is_good = 0;

    apr_initialize();
    apr_pool_create(&pool, NULL);
    if (!strcmp(what, "handshake")) {
        is_good = count_handshakes((apr_size_t)first, second);
    }
    else if (!strcmp(what, "judge")) {
        is_good = count_judgements(first);
    }
    else if (!strcmp(what, "idle")) {
        is_good = count_idle((apr_size_t)first, second);
    }
    else if (!strcmp(what, "copy")) {
        is_good = count_copies((apr_size_t)first, second);
    }
    else if (!strcmp(what, "waiting")) {
        is_good = count_waiting((apr_size_t)first);
    }
    else if (!strcmp(what, "registry")) {
        is_good = count_registry((apr_size_t)first, (apr_size_t)second);
    }
    return is_good ? 0 : 1;
}
