/* Numbers of KMIP: tags (9.1.3.1 of the 1.x texts, 11.56 of 2.0) and enumerations that the messages use. */
#ifndef COFFER_CRYPTO_KMIP_TAGS_H
#define COFFER_CRYPTO_KMIP_TAGS_H

#define TAG_ATTRIBUTE              0x420008u
#define TAG_ATTRIBUTE_NAME         0x42000au
#define TAG_ATTRIBUTE_VALUE        0x42000bu
#define TAG_BATCH_COUNT            0x42000du
#define TAG_BATCH_ITEM             0x42000fu
#define TAG_ALGORITHM              0x420028u
#define TAG_LENGTH                 0x42002au
#define TAG_USAGE_MASK             0x42002cu
#define TAG_KEY_BLOCK              0x420040u
#define TAG_KEY_COMPRESSION        0x420041u
#define TAG_KEY_FORMAT             0x420042u
#define TAG_KEY_MATERIAL           0x420043u
#define TAG_KEY_VALUE              0x420045u
#define TAG_KEY_WRAPPING_DATA      0x420046u
#define TAG_MAXIMUM_ITEMS          0x42004fu
#define TAG_MAXIMUM_RESPONSE_SIZE  0x420050u
#define TAG_NAME                   0x420053u
#define TAG_NAME_TYPE              0x420054u
#define TAG_NAME_VALUE             0x420055u
#define TAG_OBJECT_TYPE            0x420057u
#define TAG_OPERATION              0x42005cu
#define TAG_PROTOCOL_VERSION       0x420069u
#define TAG_PROTOCOL_MAJOR         0x42006au
#define TAG_PROTOCOL_MINOR         0x42006bu
#define TAG_QUERY_FUNCTION         0x420074u
#define TAG_REQUEST_HEADER         0x420077u
#define TAG_REQUEST_MESSAGE        0x420078u
#define TAG_REQUEST_PAYLOAD        0x420079u
#define TAG_RESPONSE_HEADER        0x42007au
#define TAG_RESPONSE_MESSAGE       0x42007bu
#define TAG_RESPONSE_PAYLOAD       0x42007cu
#define TAG_RESULT_MESSAGE         0x42007du
#define TAG_RESULT_REASON          0x42007eu
#define TAG_RESULT_STATUS          0x42007fu
#define TAG_REVOCATION_REASON      0x420081u
#define TAG_REVOCATION_CODE        0x420082u
#define TAG_STATE                  0x42008du
#define TAG_SYMMETRIC_KEY          0x42008fu
#define TAG_TEMPLATE_ATTRIBUTE     0x420091u
#define TAG_UNIQUE_IDENTIFIER      0x420094u
#define TAG_VENDOR_IDENTIFICATION  0x42009du
#define TAG_ATTRIBUTES             0x420125u
#define TAG_ATTRIBUTE_REFERENCE    0x42013bu

#define OBJECT_SYMMETRIC_KEY    2u
#define ALGORITHM_AES           3u
#define FORMAT_RAW              1u
#define NAME_TEXT               1u
#define MASK_DERIVE_KEY         0x200u
#define QUERY_SERVER            3u
#define REVOKE_CESSATION        6u
#define STATUS_SUCCESS          0u

#define REASON_ITEM_NOT_FOUND         0x01u
#define REASON_AUTHENTICATION         0x03u
#define REASON_NOT_SUPPORTED          0x05u
#define REASON_FEATURE                0x08u
#define REASON_PERMISSION             0x0cu
#define REASON_OBJECT_DESTROYED       0x36u /* these from 2.0 on */
#define REASON_OBJECT_NOT_FOUND       0x37u
#define REASON_NOT_AUTHORISED         0x39u
#define REASON_VERSION                0x3fu

#endif
