/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#ifndef STAPLE_HANDSHAKE_H
#define STAPLE_HANDSHAKE_H

/*
 * The handshake: one of the two ways through the house. What is held for a
 * certificate is looked up, judged by the clock, handed over and counted.
 *
 * Any thread of any child. Nothing here takes a lock, makes a system call or
 * waits; a response above 8 KiB costs an allocation, which is freed at once.
 */

#include <httpd.h>
#include <http_ssl.h>

#include "staple_cache.h"
#include "staple_cert.h"

#ifdef __cplusplus
extern "C" {
#endif

/** What a client gets that gets nothing. */
#define STAPLE_HANDSHAKE_NONE "none"

/**
 * Hand over the response that is held for a certificate, if it may be served
 * at this moment (RFC 6960 4.2.2.1: within its validity), and count it.
 * @param cert has a slot
 * @param cb called exactly once, with NULL and 0 where there is nothing:
 *        mod_ssl reads what it leaves
 * @return what the client gets, as one constant word: "good", "revoked",
 *         "error" or STAPLE_HANDSHAKE_NONE
 */
const char *staple_handshake_answer(staple_cache_t *cache,
                                    const staple_cert_t *cert,
                                    ap_ssl_ocsp_copy_resp *cb,
                                    void *userdata);

/** Whether a client would get a response at this moment. Nothing is counted.
 * @param cert has a slot */
int staple_handshake_has(const staple_cache_t *cache,
                         const staple_cert_t *cert);

#ifdef __cplusplus
}
#endif

#endif /* STAPLE_HANDSHAKE_H */
