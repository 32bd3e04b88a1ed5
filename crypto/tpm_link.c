/*
 * The way to a TPM and back, by tpm2-tss' ESAPI.
 *
 * The bus to a TPM is not trusted. A session is salted to the storage primary, whose Name says which TPM it is: who sits
 * on the bus cannot read what the session encrypts (AES-128-CFB, both directions), nor answer in the TPM's place. That
 * holds from the first sealing on, where the Name is recorded; at that one it is the TPM that answers. A Name is
 * computed here from the very key that the library salts to: it believes what it is told of a persistent one.
 *
 * A TPM without a resource manager has three slots for objects and few for sessions, and keeps them when the process
 * that filled them is gone: tpm_link_close() flushes on every path. After an answer that was changed on the way there is no
 * handle of what the TPM made all the same; so what is there when a link begins is listed, and where a command
 * failed what came since is flushed at its end. A resource manager shows each link its own alone; without one that may be what
 * another link has just loaded, which then fails and is tried again. The library keeps what passed through it in memory
 * that it frees as it is, and on the stack: both are overwritten here, since nothing of that is in the arena but what
 * the library leaves to OpenSSL. No state between two links, no locks; a crash leaves at most slots filled.
 */
#include "crypto/tpm_link.h"

#include <errno.h>
#include <malloc.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <tss2/tss2_mu.h>
#include <tss2/tss2_rc.h>
#include <tss2/tss2_sys.h>
#include <tss2/tss2_tctildr.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "crypto/openssl_error.h"

#define PERSISTENT_PRIMARY 0x81000001u /* where the TCG's provisioning guidance puts the storage root key */
#define DEVICE_PREFIX      "device:"
#define STACK_BYTES        (64u << 10) /* more than the library's deepest call takes */
#define ROOM_PATIENCE      (2 * CLOCK_SECOND) /* a conversation takes less than one */
#define ROOM_PAUSE         (50 * CLOCK_MILLISECOND)
#define CFB_BITS           128         /* what every TPM has */

/* It writes to stderr what it returns as well, unless it is told otherwise; a person may. */
static void __attribute__((constructor)) library_quieten(void)
{
    setenv("TSS2_LOG", "all+NONE", 0);
}

/* ---- errors ------------------------------------------------------------------------------------------------------ */

static bool is_of_tpm(TSS2_RC code)
{
    TSS2_RC layer = code & TSS2_RC_LAYER_MASK;
    return layer == TSS2_TPM_RC_LAYER || layer == TSS2_RESMGR_TPM_RC_LAYER;
}

bool tpm_faults_parameter(TSS2_RC code)
{
    return is_of_tpm(code) && code & TPM2_RC_FMT1 && code & TPM2_RC_P;
}

TSS2_RC tpm_code(TSS2_RC code)
{
    if (!is_of_tpm(code))
        return code;
    code &= ~TSS2_RC_LAYER_MASK;
    return code & TPM2_RC_FMT1 ? code & (TPM2_RC_FMT1 | 0x3f) : code;
}

static bool is_of_transport(TSS2_RC code)
{
    TSS2_RC base = code & ~TSS2_RC_LAYER_MASK;
    bool transport = (code & TSS2_RC_LAYER_MASK) == TSS2_TCTI_RC_LAYER;
    return transport && (base == TSS2_BASE_RC_IO_ERROR || base == TSS2_BASE_RC_NO_CONNECTION ||
                         base == TSS2_BASE_RC_GENERAL_FAILURE || base == TSS2_BASE_RC_NO_TPM);
}

static enum error absent(struct tpm_link *link)
{
    return error_explain(ERROR_KEY_ABSENT,
                         "no TPM answers at %s: turn it on (firmware setup), or name the right one in coffer.conf, "
                         "[provider] tcti",
                         link->place);
}

static enum error busy(struct tpm_link *link)
{
    return error_explain(ERROR_BUSY,
                         "the TPM at %s is in use by others and has no room: wait, or name " TPM_TCTI_DEFAULT
                         " in coffer.conf, [provider] tcti, where the kernel shares it",
                         link->place);
}

static enum error locked_out(struct tpm_link *link)
{
    return error_explain(ERROR_BUSY,
                         "the TPM at %s takes no PINs for now: there were too many wrong ones, or unclean ends of the "
                         "machine; wait (`tpm2_getcap properties-variable` says how long), or type "
                         "`tpm2_dictionarylockout --clear-lockout`",
                         link->place);
}

static enum error forged(struct tpm_link *link)
{
    return error_explain(ERROR_FORGED,
                         "the TPM at %s did not give the answer that came: something on the way to it changes "
                         "messages, or stands in its place",
                         link->place);
}

static bool lacks_room(TSS2_RC code)
{
    TSS2_RC plain = tpm_code(code);
    return plain == TPM2_RC_OBJECT_MEMORY || plain == TPM2_RC_SESSION_MEMORY || plain == TPM2_RC_OBJECT_HANDLES ||
           plain == TPM2_RC_SESSION_HANDLES || plain == TPM2_RC_MEMORY || plain == TPM2_RC_RETRY;
}

bool tpm_link_again(struct tpm_link *link, TSS2_RC code)
{
    if (!lacks_room(code) || clock_monotonic() >= link->patience)
        return false;
    clock_sleep(ROOM_PAUSE);
    return true;
}

enum error tpm_link_error(struct tpm_link *link, TSS2_RC code, const char *action)
{
    TSS2_RC plain = tpm_code(code);
    if (code == TSS2_RC_SUCCESS)
        return ERROR_NONE;
    link->doubted |= !lacks_room(code); /* an answer that was changed may say anything */
    if (is_of_transport(code))
        return absent(link);
    if (plain == TPM2_RC_LOCKOUT)
        return locked_out(link);
    if (lacks_room(code))
        return busy(link);
    if (code == TSS2_ESYS_RC_RSP_AUTH_FAILED || code == TSS2_ESYS_RC_MALFORMED_RESPONSE) /* so where a Name does not fit */
        return forged(link);
    if (plain == TPM2_RC_INITIALIZE)
        return error_explain(ERROR_KEY_ABSENT, "the TPM at %s was not started: restart the machine", link->place);
    if (!is_of_tpm(code) && (code & ~TSS2_RC_LAYER_MASK) == TSS2_BASE_RC_MEMORY)
        return ERROR_NO_MEMORY;
    return error_explain(ERROR_IO, "the TPM at %s could not %s: %s (0x%x)", link->place, action, Tss2_RC_Decode(code),
                         code);
}

/* ---- connection -------------------------------------------------------------------------------------------------- */

enum error tpm_tcti_check(const char *tcti)
{
    static const char *const transports[] = {"device", "swtpm", "mssim", "tabrmd"};
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:/.,=_-";
    size_t length = strlen(tcti), name = strcspn(tcti, ":");
    if (length > TPM_TCTI_SIZE_MAX || strspn(tcti, allowed) != length)
        return error_explain(ERROR_INVALID, "\"%.64s\" is no TCTI: write " TPM_TCTI_DEFAULT, tcti);
    for (size_t i = 0; i < COUNT_OF(transports); i++)
        if (strlen(transports[i]) == name && strncmp(tcti, transports[i], name) == 0)
            return ERROR_NONE;
    return error_explain(ERROR_INVALID,
                         "there is no TCTI \"%.64s\": there are device:PATH, swtpm:host=HOST,port=PORT, mssim and tabrmd",
                         tcti);
}

/* The library tells no reasons. */
static enum error device_check(struct tpm_link *link)
{
    const char *path = link->place + strlen(DEVICE_PREFIX);
    if (strncmp(link->place, DEVICE_PREFIX, strlen(DEVICE_PREFIX)) != 0 || access(path, R_OK | W_OK) == 0)
        return ERROR_NONE;
    if (errno == EACCES)
        return error_explain(ERROR_ACCESS,
                             "%s may not be used by this user: `usermod --append --groups tss USER` allows it, from "
                             "the next login or start of the service on",
                             path);
    return absent(link);
}

/* Objects, and sessions that are loaded. */
static bool handles_list(struct tpm_link *link, TPML_HANDLE lists[2])
{
    static const TPM2_HANDLE first[] = {TPM2_TRANSIENT_FIRST, TPM2_LOADED_SESSION_FIRST};
    TSS2_SYS_CONTEXT *sys;
    TPMI_YES_NO more;
    if (Esys_GetSysContext(link->esys, &sys) != TSS2_RC_SUCCESS)
        return false;
    for (size_t i = 0; i < COUNT_OF(first); i++) {
        TPMS_CAPABILITY_DATA data = {0};
        if (Tss2_Sys_GetCapability(sys, NULL, TPM2_CAP_HANDLES, first[i], TPM2_MAX_CAP_HANDLES, &more, &data, NULL) !=
                TSS2_RC_SUCCESS ||
            data.capability != TPM2_CAP_HANDLES)
            return false;
        lists[i] = data.data.handles;
    }
    return true;
}

static bool list_has(const TPML_HANDLE *list, TPM2_HANDLE handle)
{
    for (uint32_t i = 0; i < list->count; i++)
        if (list->handle[i] == handle)
            return true;
    return false;
}

/* What an answer that was changed did not tell of. */
static void rest_flush(struct tpm_link *link)
{
    TPML_HANDLE now[2];
    TSS2_SYS_CONTEXT *sys;
    if (!link->doubted || !link->before_known || !handles_list(link, now) || Esys_GetSysContext(link->esys, &sys) != TSS2_RC_SUCCESS)
        return;
    for (size_t i = 0; i < COUNT_OF(now); i++)
        for (uint32_t j = 0; j < now[i].count; j++)
            if (!list_has(&link->before[i], now[i].handle[j]))
                (void)Tss2_Sys_FlushContext(sys, now[i].handle[j]);
}

enum error tpm_link_open(const char *tcti, struct tpm_link *link)
{
    *link = (struct tpm_link){.place = tcti == NULL ? TPM_TCTI_DEFAULT : tcti,
                              .patience = clock_monotonic() + ROOM_PATIENCE,
                              .primary = ESYS_TR_NONE,
                              .session = ESYS_TR_NONE,
                              .policy = ESYS_TR_NONE,
                              .object = ESYS_TR_NONE};
    TRY(tpm_tcti_check(link->place));
    TRY(device_check(link));
    TSS2_RC code = Tss2_TctiLdr_Initialize(link->place, &link->tcti);
    if (code == TSS2_TCTI_RC_NOT_SUPPORTED)
        return error_explain(ERROR_UNSUPPORTED,
                             "the library for the TCTI %s is not installed: `apt install libtss2-tcti-%.*s0`", link->place,
                             (int)strcspn(link->place, ":"), link->place);
    TRY(tpm_link_error(link, code, "be reached"));
    TRY(tpm_link_error(link, Esys_Initialize(&link->esys, link->tcti, NULL), "be reached"));
    link->before_known = handles_list(link, link->before);
    return ERROR_NONE;
}

/* Not by Esys_FlushContext(): that does nothing any more after an answer that was not authentic. */
void tpm_link_flush(struct tpm_link *link, ESYS_TR *handle)
{
    TSS2_SYS_CONTEXT *sys;
    TPM2_HANDLE number;
    if (*handle != ESYS_TR_NONE && Esys_TR_GetTpmHandle(link->esys, *handle, &number) == TSS2_RC_SUCCESS &&
        Esys_GetSysContext(link->esys, &sys) == TSS2_RC_SUCCESS)
        (void)Tss2_Sys_FlushContext(sys, number);
    *handle = ESYS_TR_NONE;
}

/* The buffer of commands and answers: a command is made in it that is never sent. */
static void buffer_overwrite(struct tpm_link *link)
{
    static const TPM2B_MAX_BUFFER zeros = {.size = TPM2_MAX_DIGEST_BUFFER};
    TSS2_SYS_CONTEXT *sys;
    if (Esys_GetSysContext(link->esys, &sys) == TSS2_RC_SUCCESS)
        (void)Tss2_Sys_Hash_Prepare(sys, &zeros, TPM2_ALG_SHA256, TPM2_RH_NULL);
}

/* It is overwritten where it stands: no command does so any more after an answer that was not authentic. */
void tpm_link_forget(struct tpm_link *link, const void *secret, size_t size)
{
    uint8_t *at = (uint8_t *)link->esys, *end = at + malloc_usable_size(link->esys);
    for (; (at = memmem(at, (size_t)(end - at), secret, size)) != NULL; at += size)
        memory_cleanse(at, size);
}

static void __attribute__((noinline)) stack_overwrite(void)
{
    uint8_t below[STACK_BYTES];
    memory_cleanse(below, sizeof below);
}

void tpm_link_close(struct tpm_link *link)
{
    if (link->esys != NULL) {
        tpm_link_flush(link, &link->object);
        tpm_link_flush(link, &link->policy);
        tpm_link_flush(link, &link->session);
        if (!link->primary_persists)
            tpm_link_flush(link, &link->primary);
        rest_flush(link);
        buffer_overwrite(link);
        Esys_Finalize(&link->esys);
    }
    Tss2_TctiLdr_Finalize(&link->tcti);
    stack_overwrite();
}

/* ---- primaries --------------------------------------------------------------------------------------------------- */

#define STORAGE_ATTRIBUTES                                                                                             \
    (TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT | TPMA_OBJECT_SENSITIVEDATAORIGIN | TPMA_OBJECT_USERWITHAUTH |     \
     TPMA_OBJECT_NODA | TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_DECRYPT)
#define ENDORSEMENT_ATTRIBUTES                                                                                         \
    (TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT | TPMA_OBJECT_SENSITIVEDATAORIGIN | TPMA_OBJECT_ADMINWITHPOLICY |  \
     TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_DECRYPT)

/* What both of the TCG's ECC P-256 templates have in common; the rest, unique included, is zero. */
static TPM2B_PUBLIC template_of(TPMA_OBJECT attributes)
{
    TPM2B_PUBLIC template = {.publicArea = {.type = TPM2_ALG_ECC, .nameAlg = TPM2_ALG_SHA256}};
    TPMS_ECC_PARMS *ecc = &template.publicArea.parameters.eccDetail;
    template.publicArea.objectAttributes = attributes;
    ecc->symmetric.algorithm = TPM2_ALG_AES;
    ecc->symmetric.keyBits.aes = CFB_BITS;
    ecc->symmetric.mode.aes = TPM2_ALG_CFB;
    ecc->scheme.scheme = TPM2_ALG_NULL;
    ecc->curveID = TPM2_ECC_NIST_P256;
    ecc->kdf.scheme = TPM2_ALG_NULL;
    template.publicArea.unique.ecc.x.size = template.publicArea.unique.ecc.y.size = 32;
    return template;
}

/* What the library keeps of a key and salts to, in the form that it writes to files: handle, Name, kind, public area. */
static TSS2_RC key_of(struct tpm_link *link, ESYS_TR handle, TPM2B_NAME *told, TPM2B_PUBLIC *public)
{
    uint8_t *bytes = NULL;
    size_t size, at = 0;
    *told = (TPM2B_NAME){0};
    *public = (TPM2B_PUBLIC){0};
    TSS2_RC code = Esys_TR_Serialize(link->esys, handle, &bytes, &size);
    if (code == TSS2_RC_SUCCESS)
        code = Tss2_MU_UINT32_Unmarshal(bytes, size, &at, NULL);
    if (code == TSS2_RC_SUCCESS)
        code = Tss2_MU_TPM2B_NAME_Unmarshal(bytes, size, &at, told);
    if (code == TSS2_RC_SUCCESS)
        code = Tss2_MU_UINT32_Unmarshal(bytes, size, &at, NULL);
    if (code == TSS2_RC_SUCCESS)
        code = Tss2_MU_TPM2B_PUBLIC_Unmarshal(bytes, size, &at, public);
    Esys_Free(bytes);
    return code;
}

static enum error name_compute(struct tpm_link *link, const TPMT_PUBLIC *area, uint8_t name[TPM_NAME_SIZE])
{
    uint8_t bytes[sizeof *area];
    size_t size = 0, at = 0;
    TRY(tpm_link_error(link, Tss2_MU_TPMT_PUBLIC_Marshal(area, bytes, sizeof bytes, &size), "name a key"));
    TRY(tpm_link_error(link, Tss2_MU_UINT16_Marshal(area->nameAlg, name, TPM_NAME_SIZE, &at), "name a key"));
    return EVP_Digest(bytes, size, name + at, NULL, EVP_sha256(), NULL) == 1 ? ERROR_NONE
                                                                            : error_from_openssl("name a key");
}

/* The Name of what the library salts to, whatever the bus told of it. */
static enum error name_of(struct tpm_link *link, ESYS_TR handle, TPM2B_PUBLIC *public, uint8_t name[TPM_NAME_SIZE])
{
    TPM2B_NAME told;
    uint8_t computed[TPM_NAME_SIZE];
    TRY(tpm_link_error(link, key_of(link, handle, &told, public), "name a key"));
    if (public->publicArea.nameAlg != TPM2_ALG_SHA256)
        return error_explain(ERROR_UNSUPPORTED, "the TPM at %s names keys otherwise than by SHA-256", link->place);
    TRY(name_compute(link, &public->publicArea, computed));
    if (told.size != TPM_NAME_SIZE || memcmp(told.name, computed, TPM_NAME_SIZE) != 0)
        return forged(link);
    memcpy(name, computed, TPM_NAME_SIZE);
    return ERROR_NONE;
}

static TSS2_RC primary_create(struct tpm_link *link, ESYS_TR hierarchy, const TPM2B_PUBLIC *template, ESYS_TR *handle)
{
    static const TPM2B_SENSITIVE_CREATE sensitive;
    static const TPM2B_DATA outside;
    static const TPML_PCR_SELECTION pcrs;
    TSS2_RC code;
    do
        code = Esys_CreatePrimary(link->esys, hierarchy, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE, &sensitive, template,
                                  &outside, &pcrs, handle, NULL, NULL, NULL, NULL);
    while (tpm_link_again(link, code));
    return code;
}

static bool is_storage_primary(const TPM2B_PUBLIC *public)
{
    const TPMT_PUBLIC *area = &public->publicArea;
    const TPMS_ECC_PARMS *ecc = &area->parameters.eccDetail;
    return area->type == TPM2_ALG_ECC && area->nameAlg == TPM2_ALG_SHA256 && area->authPolicy.size == 0 &&
           area->objectAttributes == STORAGE_ATTRIBUTES && ecc->curveID == TPM2_ECC_NIST_P256 &&
           ecc->symmetric.algorithm == TPM2_ALG_AES && ecc->symmetric.keyBits.aes == CFB_BITS &&
           ecc->symmetric.mode.aes == TPM2_ALG_CFB;
}

/* The one that provisioning left in the TPM, which needs no password of the owner; ERROR_NOT_FOUND where it is not there. */
static enum error primary_find(struct tpm_link *link, const uint8_t *wanted)
{
    TPM2B_PUBLIC public;
    ESYS_TR handle;
    if (Esys_TR_FromTPMPublic(link->esys, PERSISTENT_PRIMARY, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &handle))
        return ERROR_NOT_FOUND;
    enum error error = name_of(link, handle, &public, link->primary_name);
    bool fits = error == ERROR_NONE && (wanted == NULL ? is_storage_primary(&public)
                                                       : memcmp(link->primary_name, wanted, TPM_NAME_SIZE) == 0);
    if (fits) {
        link->primary = handle;
        link->primary_persists = true;
        return ERROR_NONE;
    }
    (void)Esys_TR_Close(link->esys, &handle);
    if (error == ERROR_FORGED)
        return error;
    error_forget();
    return ERROR_NOT_FOUND;
}

enum error tpm_link_primary(struct tpm_link *link, const uint8_t name[TPM_NAME_SIZE])
{
    TPM2B_PUBLIC template = template_of(STORAGE_ATTRIBUTES), public;
    enum error error = primary_find(link, name);
    if (error != ERROR_NOT_FOUND)
        return error;
    TSS2_RC code = primary_create(link, ESYS_TR_RH_OWNER, &template, &link->primary);
    if (tpm_code(code) == TPM2_RC_BAD_AUTH || tpm_code(code) == TPM2_RC_AUTH_FAIL)
        return error_explain(ERROR_ACCESS,
                             "the owner of the TPM at %s has a password, and its storage key does not lie at 0x81000001: "
                             "`tpm2_changeauth -c owner -p PASSWORD` takes the password away; docs/operating.md tells how "
                             "to put the key there",
                             link->place);
    TRY(tpm_link_error(link, code, "make its storage key"));
    TRY(name_of(link, link->primary, &public, link->primary_name));
    return name == NULL || memcmp(link->primary_name, name, TPM_NAME_SIZE) == 0 ? ERROR_NONE : ERROR_NOT_FOUND;
}

void tpm_link_endorsement(struct tpm_link *link, uint8_t name[TPM_NAME_SIZE])
{
    /* TCG EK Credential Profile, template L-2: PolicySecret(TPM_RH_ENDORSEMENT) */
    static const uint8_t policy[] = {0x83, 0x71, 0x97, 0x67, 0x44, 0x84, 0xb3, 0xf8, 0x1a, 0x90, 0xcc,
                                     0x8d, 0x46, 0xa5, 0xd7, 0x24, 0xfd, 0x52, 0xd7, 0x6e, 0x06, 0x52,
                                     0x0b, 0x64, 0xf2, 0xa1, 0xda, 0x1b, 0x33, 0x14, 0x69, 0xaa};
    TPM2B_PUBLIC template = template_of(ENDORSEMENT_ATTRIBUTES), public;
    ESYS_TR handle = ESYS_TR_NONE;
    memcpy(template.publicArea.authPolicy.buffer, policy, sizeof policy);
    template.publicArea.authPolicy.size = sizeof policy;
    memset(name, 0, TPM_NAME_SIZE);
    if (primary_create(link, ESYS_TR_RH_ENDORSEMENT, &template, &handle) == TSS2_RC_SUCCESS &&
        name_of(link, handle, &public, name) != ERROR_NONE)
        error_forget();
    tpm_link_flush(link, &handle);
}

/* ---- session ----------------------------------------------------------------------------------------------------- */

static enum error session_begin(struct tpm_link *link, TPM2_SE kind, ESYS_TR *session)
{
    const TPMT_SYM_DEF cipher = {
        .algorithm = TPM2_ALG_AES, .keyBits = {.aes = CFB_BITS}, .mode = {.aes = TPM2_ALG_CFB}};
    const TPMA_SESSION attributes = TPMA_SESSION_CONTINUESESSION | TPMA_SESSION_DECRYPT | TPMA_SESSION_ENCRYPT;
    TSS2_RC code;
    do
        code = Esys_StartAuthSession(link->esys, link->primary, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, NULL,
                                     kind, &cipher, TPM2_ALG_SHA256, session);
    while (tpm_link_again(link, code));
    TRY(tpm_link_error(link, code, "begin a session"));
    return tpm_link_error(link, Esys_TRSess_SetAttributes(link->esys, *session, attributes, 0xff), "begin a session");
}

enum error tpm_link_session(struct tpm_link *link)
{
    return session_begin(link, TPM2_SE_HMAC, &link->session);
}

enum error tpm_link_policy_session(struct tpm_link *link)
{
    return session_begin(link, TPM2_SE_POLICY, &link->policy);
}

/* ---- PINs -------------------------------------------------------------------------------------------------------- */

/* Not authenticated: whoever lies here gains that a warning is false or missing, no more. */
enum error tpm_link_takes_pins(struct tpm_link *link)
{
    TPMS_CAPABILITY_DATA *data = NULL;
    TPMI_YES_NO more;
    TRY(tpm_link_error(link,
                       Esys_GetCapability(link->esys, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, TPM2_CAP_TPM_PROPERTIES,
                                          TPM2_PT_PERMANENT, 1, &more, &data),
                       "say whether it takes PINs"));
    const TPML_TAGGED_TPM_PROPERTY *list = &data->data.tpmProperties;
    bool told = data->capability == TPM2_CAP_TPM_PROPERTIES && list->count > 0 &&
                list->tpmProperty[0].property == TPM2_PT_PERMANENT;
    bool locked = told && list->tpmProperty[0].value & TPMA_PERMANENT_INLOCKOUT;
    Esys_Free(data);
    return locked ? locked_out(link) : ERROR_NONE;
}
