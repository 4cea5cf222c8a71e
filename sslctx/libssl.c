/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Finding libssl.
 *
 * The one idea: what mod_ssl calls is what the linker found for mod_ssl's file,
 * so that is where names are looked up. It is believed only if everything
 * agrees: all functions lie in one library, the SSL_CTX that mod_ssl has made
 * was made by it, and its libcrypto is the one that this module is linked to.
 */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* dladdr, RTLD_DEFAULT */
#endif

#include "libssl.h"

#include <dlfcn.h>
#include <stddef.h>
#include <string.h>

#include <httpd.h>
#include <http_config.h>
#include <apr_dso.h>

#include <openssl/crypto.h>
#include <openssl/ocsp.h>

/* What SSL_set0_tlsext_status_ocsp_resp_ex of OpenSSL 3.6, a macro, passes to
 * SSL_ctrl, which answers 0 where it is older. */
#define CTRL_SET_RESPONSES 143

#define OPENSSL_3_6 0x30600000UL

#define FUNCTION(field, name) { name, offsetof(libssl_t, field) }

static const struct {
    const char *name;
    size_t offset;
} functions[] = {
    FUNCTION(ctx_ctrl, "SSL_CTX_ctrl"),
    FUNCTION(ctx_callback_ctrl, "SSL_CTX_callback_ctrl"),
    FUNCTION(ctx_get0_certificate, "SSL_CTX_get0_certificate"),
    FUNCTION(ctx_get0_privatekey, "SSL_CTX_get0_privatekey"),
    FUNCTION(ctx_get_cert_store, "SSL_CTX_get_cert_store"),
    FUNCTION(ctx_get_ssl_method, "SSL_CTX_get_ssl_method"),
    FUNCTION(ctx_set_cert_cb, "SSL_CTX_set_cert_cb"),
    FUNCTION(ssl_new, "SSL_new"),
    FUNCTION(ssl_free, "SSL_free"),
    FUNCTION(ctrl, "SSL_ctrl"),
    FUNCTION(callback_ctrl, "SSL_callback_ctrl"),
    FUNCTION(set_ex_data, "SSL_set_ex_data"),
    FUNCTION(get_ex_data, "SSL_get_ex_data"),
    FUNCTION(version, "SSL_version"),
    FUNCTION(get_certificate, "SSL_get_certificate"),
    FUNCTION(check_chain, "SSL_check_chain"),
    FUNCTION(certs_clear, "SSL_certs_clear"),
    FUNCTION(use_cert_and_key, "SSL_use_cert_and_key"),
    FUNCTION(get_sigalgs, "SSL_get_sigalgs"),
    FUNCTION(get_ciphers, "SSL_get_ciphers"),
    FUNCTION(get_client_ciphers, "SSL_get_client_ciphers"),
    FUNCTION(cipher_get_auth_nid, "SSL_CIPHER_get_auth_nid")
};

/* As mod_ssl's own calls find a name; NULL: they do not. */
static void *look_up(const module *mod_ssl, const char *name)
{
    apr_dso_handle_sym_t symbol;

    if (!mod_ssl->dynamic_load_handle) { /* it is a part of httpd's program */
        return dlsym(RTLD_DEFAULT, name);
    }
    return apr_dso_sym(&symbol, mod_ssl->dynamic_load_handle, name)
           ? NULL : symbol;
}

/* Where the file begins in memory that has an address; NULL: none has it. */
static const void *file_of(const void *address)
{
    Dl_info info;

    return dladdr(address, &info) ? info.dli_fbase : NULL;
}

static const char *find_all(libssl_t *lib, const module *mod_ssl)
{
    const void *file = NULL;
    size_t i;

    for (i = 0; i < sizeof(functions) / sizeof(*functions); i++) {
        void *function = look_up(mod_ssl, functions[i].name);

        if (!function) {
            return "mod_ssl's libssl lacks a function of OpenSSL 1.1.1, or is "
                   "a part of mod_ssl";
        }
        if (file && file_of(function) != file) {
            return "there is more than one libssl in the process";
        }
        file = file_of(function);
        memcpy((char *)lib + functions[i].offset, &function, sizeof(function));
    }
    return NULL;
}

/* The addresses of functions, as data. */
static int is_our_crypto(const module *mod_ssl)
{
    __typeof__(d2i_OCSP_RESPONSE) *ours = d2i_OCSP_RESPONSE;
    void *theirs = look_up(mod_ssl, "d2i_OCSP_RESPONSE");

    return theirs && !memcmp(&ours, &theirs, sizeof(theirs));
}

/* An SSL_CTX begins with a pointer to a table in the library that made it. Were
 * it another library, this would read some other pointer. */
static int has_made(const libssl_t *lib, SSL_CTX *ctx)
{
    const void *table = lib->ctx_get_ssl_method(ctx);
    const void *function;

    memcpy(&function, &lib->ctx_get_ssl_method, sizeof(function));
    return file_of(table) && file_of(table) == file_of(function);
}

const char *libssl_find(libssl_t *lib, SSL_CTX *ctx)
{
    const module *mod_ssl = ap_find_linked_module("mod_ssl.c");
    const char *why = mod_ssl ? find_all(lib, mod_ssl)
                              : "mod_ssl is not loaded";

    if (why) {
        return why;
    }
    if (!is_our_crypto(mod_ssl)) {
        return "mod_ssl uses another libcrypto than mod_staple";
    }
    return has_made(lib, ctx) ? NULL : "mod_ssl uses another libssl than the "
                                       "one that was found";
}

int libssl_may_know_chains(void)
{
    return OpenSSL_version_num() >= OPENSSL_3_6;
}

/* It is asked, with an SSL of its own, because a version tells less. */
int libssl_knows_chains(const libssl_t *lib, SSL_CTX *ctx)
{
    SSL *ssl = libssl_may_know_chains() ? lib->ssl_new(ctx) : NULL;
    int it_does = ssl && libssl_set_responses(lib, ssl, NULL);

    if (ssl) {
        lib->ssl_free(ssl);
    }
    return it_does;
}

int libssl_set_responses(const libssl_t *lib, SSL *ssl, OPENSSL_STACK *stack)
{
    return lib->ctrl(ssl, CTRL_SET_RESPONSES, 0, stack) == 1;
}
