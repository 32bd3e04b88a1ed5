#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/conf.h"
#include "base/memory.h"

static const char *const codecs[] = {"auto", "none", "lz4", "zstd", NULL};
static const struct conf_key keys[] = {
    {"pool", "memory", CONF_SIZE},
    {"pool", "trash", CONF_DURATION},
    {"pool", "codec", CONF_CHOICE, codecs},
    {"pool", "label", CONF_TEXT},
    {"server", "insecure", CONF_BOOL},
    {"server", "listen", CONF_TEXT, NULL, true},
    {"group *", "device", CONF_TEXT, NULL, true},
    {"group *", "site", CONF_TEXT},
};

static struct conf *parsed(const char *text)
{
    struct conf *conf = NULL;
    enum error error = conf_parse("coffer.conf", text, strlen(text), keys, COUNT_OF(keys), &conf);
    if (error != ERROR_NONE)
        fail_msg("%s", error_sentence(error));
    return conf;
}

static void expect_fault(const char *text, const char *sentence)
{
    struct conf *conf = NULL;
    assert_int_equal(conf_parse("coffer.conf", text, strlen(text), keys, COUNT_OF(keys), &conf), ERROR_INVALID);
    assert_null(conf);
    assert_string_equal(error_sentence(ERROR_INVALID), sentence);
}

static void an_unknown_key_is_named_with_the_nearest_known(void **state)
{
    (void)state;
    expect_fault("# a comment\n[pool]\n\nmemroy = 1G\n",
                 "coffer.conf:4: unknown key \"memroy\" in [pool]: the nearest known is \"memory\"");
    expect_fault("[pool]\nMemory = 1G\n",
                 "coffer.conf:2: unknown key \"Memory\" in [pool]: the nearest known is \"memory\"");
}

static void a_key_of_another_section_is_sent_there(void **state)
{
    (void)state;
    expect_fault("[pool]\ninsecure = yes\n",
                 "coffer.conf:2: the key \"insecure\" does not belong into [pool], but into [server]");
}

static void an_unknown_section_is_named_with_the_nearest_known(void **state)
{
    (void)state;
    expect_fault("[pools]\n", "coffer.conf:1: unknown section [pools]: the nearest known is [pool]");
    expect_fault("[group]\n", "coffer.conf:1: unknown section [group]: the nearest known is [group *]");
    expect_fault("[group ]\n", "coffer.conf:1: unknown section [group ]: the nearest known is [group *]");
}

static void a_key_before_any_section_is_refused(void **state)
{
    (void)state;
    expect_fault("memory = 1G\n", "coffer.conf:1: the key \"memory\" stands before any [section]");
}

static void a_doubled_key_is_refused_also_when_its_section_was_reopened(void **state)
{
    (void)state;
    expect_fault("[pool]\nmemory = 1G\nmemory = 2G\n",
                 "coffer.conf:3: memory is given a second time in [pool], first in line 2");
    expect_fault("[pool]\nmemory = 1G\n[server]\n[pool]\nmemory = 1G\n",
                 "coffer.conf:5: memory is given a second time in [pool], first in line 2");
}

static void a_value_of_the_wrong_kind_is_refused(void **state)
{
    (void)state;
    expect_fault("[pool]\nmemory = much\n",
                 "coffer.conf:2: memory: \"much\" is not a size: write it like 20G, 512M, 1.5TiB or 4096");
    expect_fault("[pool]\ntrash = 7 days\n",
                 "coffer.conf:2: trash: \"7 days\" is not a duration: write it like 30s, 90m, 12h, 7d or 2w");
    expect_fault("[pool]\ncodec = gzip\n", "coffer.conf:2: codec: \"gzip\" is none of: auto, none, lz4, zstd");
    expect_fault("[server]\ninsecure = maybe\n", "coffer.conf:2: insecure: \"maybe\" is neither yes nor no");
    expect_fault("[pool]\nlabel =\n", "coffer.conf:2: label has no value");
    expect_fault("[pool]\nmemory = 1G # much\n",
                 "coffer.conf:2: memory: \"1G # much\" is not a size: write it like 20G, 512M, 1.5TiB or 4096");
}

static void what_is_no_ini_is_refused(void **state)
{
    (void)state;
    expect_fault("[pool]\nmemory\n", "coffer.conf:2: neither \"[section]\" nor \"key = value\"");
    expect_fault("[pool\nmemory = 1G\n", "coffer.conf:1: a section without its \"]\"");
    expect_fault("[pool]\nlabel = a\x01z\n", "coffer.conf:2: a control character: this is not a text file");
    expect_fault("= 1\n", "coffer.conf:1: the key \"\" stands before any [section]");
}

static void a_zero_byte_is_refused(void **state)
{
    (void)state;
    struct conf *conf = NULL;
    static const char text[] = "[pool]\nlabel = a\0b\n";
    assert_int_equal(conf_parse("c", text, sizeof text - 1, keys, COUNT_OF(keys), &conf), ERROR_INVALID);
    assert_string_equal(error_sentence(ERROR_INVALID), "c:2: a control character: this is not a text file");
}

static void an_indented_line_does_not_continue_the_one_above(void **state)
{
    (void)state;
    expect_fault("[pool]\nlabel = a\n  b\n", "coffer.conf:3: neither \"[section]\" nor \"key = value\"");
}

static char *line_of(size_t length)
{
    char *text = memory_zeroed(length + 20, 1);
    size_t start = (size_t)snprintf(text, 16, "[pool]\nlabel = ") - 7;
    memset(text + 7 + start, 'x', length - start);
    return text;
}

static void a_line_of_the_limit_is_kept_whole_and_one_byte_more_refused(void **state)
{
    (void)state;
    AUTO_FREE char *longest = line_of(CONF_LINE_MAX);
    AUTO_FREE char *longer = line_of(CONF_LINE_MAX + 1);
    struct conf *conf = parsed(longest);
    assert_int_equal(strlen(conf_text(conf, "pool", "label", "")), CONF_LINE_MAX - strlen("label = "));
    conf_destroy(conf);
    expect_fault(longer, "coffer.conf:2: a line of more than 4000 bytes");
}

static void a_section_name_is_never_cut(void **state)
{
    (void)state;
    char section[300], text[400];
    snprintf(section, sizeof section, "group %.63s%.63s",
             "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
             "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb");
    snprintf(text, sizeof text, "[%s]\nsite = here\n", section);
    struct conf *conf = parsed(text);
    assert_string_equal(conf_section_at(conf, 0), section);
    assert_string_equal(conf_text(conf, section, "site", ""), "here");
    conf_destroy(conf);

    memset(text, 'a', sizeof text);
    text[0] = '[';
    memcpy(text + 300, "]\n", 3);
    expect_fault(text, "coffer.conf:1: a section of more than 255 bytes");
}

static void garbage_is_refused_or_read_but_never_crashes(void **state)
{
    (void)state;
    uint32_t seed = 1;
    static const char alphabet[] = "[]=;# \t\r\n\"\\apoolmemory\xff\x01*:1G";
    for (int round = 0; round < 2000; round++) {
        char text[64];
        for (size_t i = 0; i < sizeof text; i++) {
            seed = seed * 1664525 + 1013904223;
            text[i] = alphabet[(seed >> 16) % (sizeof alphabet - 1)];
        }
        struct conf *conf = NULL;
        if (conf_parse("garbage", text, sizeof text, keys, COUNT_OF(keys), &conf) == ERROR_NONE)
            conf_destroy(conf);
    }
}

static void an_empty_file_gives_the_fallbacks(void **state)
{
    (void)state;
    struct conf *conf = parsed("");
    assert_int_equal(conf_size(conf, "pool", "memory", 256), 256);
    assert_int_equal(conf_duration(conf, "pool", "trash", 7), 7);
    assert_int_equal(conf_choice(conf, "pool", "codec", 3), 3);
    assert_true(conf_bool(conf, "server", "insecure", true));
    assert_null(conf_text(conf, "pool", "label", NULL));
    assert_int_equal(conf_section_count(conf), 0);
    conf_destroy(conf);
    conf_destroy(NULL);
}

static void every_kind_of_value_is_read(void **state)
{
    (void)state;
    struct conf *conf = parsed("\xef\xbb\xbf[pool]\r\nmemory = 256M\r\n  trash=7d\n; comment\ncodec = lz4\n"
                               "label = two words; and = more\n[server]\ninsecure = Yes\n");
    assert_int_equal(conf_size(conf, "pool", "memory", 0), 256 << 20);
    assert_int_equal(conf_duration(conf, "pool", "trash", 0), 604800);
    assert_int_equal(conf_choice(conf, "pool", "codec", 0), 2);
    assert_string_equal(conf_text(conf, "pool", "label", NULL), "two words; and = more");
    assert_true(conf_bool(conf, "server", "insecure", false));
    conf_destroy(conf);
}

static void sections_of_a_pattern_are_kept_apart(void **state)
{
    (void)state;
    struct conf *conf =
        parsed("[group b]\ndevice = /dev/b1\n[pool]\n[group a]\ndevice = /dev/a1\n[group b]\ndevice = /dev/b2\n");
    assert_int_equal(conf_section_count(conf), 3);
    assert_string_equal(conf_section_at(conf, 0), "group b");
    assert_string_equal(conf_section_at(conf, 2), "group a");
    assert_int_equal(conf_count(conf, "group b", "device"), 2);
    assert_string_equal(conf_text_at(conf, "group b", "device", 1), "/dev/b2");
    assert_int_equal(conf_count(conf, "group a", "device"), 1);
    conf_destroy(conf);
}

static void a_callers_complaint_names_file_line_and_key(void **state)
{
    (void)state;
    struct conf *conf = parsed("[pool]\nmemory = 1K\n");
    assert_int_equal(conf_complain(conf, "pool", "memory", "at least %s", "64M"), ERROR_INVALID);
    assert_string_equal(error_sentence(ERROR_INVALID), "coffer.conf:2: memory in [pool]: at least 64M");
    assert_int_equal(conf_complain(conf, "pool", "label", "is missing"), ERROR_INVALID);
    assert_string_equal(error_sentence(ERROR_INVALID), "coffer.conf: label in [pool]: is missing");
    conf_destroy(conf);
}

static void a_missing_file_is_not_found(void **state)
{
    (void)state;
    struct conf *conf = NULL;
    assert_int_equal(conf_read("/nonexistent/coffer.conf", keys, COUNT_OF(keys), &conf), ERROR_NOT_FOUND);
    assert_null(conf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_unknown_key_is_named_with_the_nearest_known),
        cmocka_unit_test(a_key_of_another_section_is_sent_there),
        cmocka_unit_test(an_unknown_section_is_named_with_the_nearest_known),
        cmocka_unit_test(a_key_before_any_section_is_refused),
        cmocka_unit_test(a_doubled_key_is_refused_also_when_its_section_was_reopened),
        cmocka_unit_test(a_value_of_the_wrong_kind_is_refused),
        cmocka_unit_test(what_is_no_ini_is_refused),
        cmocka_unit_test(a_zero_byte_is_refused),
        cmocka_unit_test(an_indented_line_does_not_continue_the_one_above),
        cmocka_unit_test(a_line_of_the_limit_is_kept_whole_and_one_byte_more_refused),
        cmocka_unit_test(a_section_name_is_never_cut),
        cmocka_unit_test(garbage_is_refused_or_read_but_never_crashes),
        cmocka_unit_test(an_empty_file_gives_the_fallbacks),
        cmocka_unit_test(every_kind_of_value_is_read),
        cmocka_unit_test(sections_of_a_pattern_are_kept_apart),
        cmocka_unit_test(a_callers_complaint_names_file_line_and_key),
        cmocka_unit_test(a_missing_file_is_not_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
