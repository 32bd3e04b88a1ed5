/* URIs and command lines for clients, with names that fight back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tools/uri.h"

static void assert_uri(const char *address, const char *name, const char *wanted)
{
    char *uri = NULL;
    assert_int_equal(uri_make(address, name, &uri), ERROR_NONE);
    assert_string_equal(uri, wanted);
    free(uri);
}

static void assert_bad_address(const char *address)
{
    char *uri;
    assert_int_equal(uri_make(address, "a", &uri), ERROR_INVALID);
}

static char *text_for(const char *client, const char *address, const char *name)
{
    char *text = NULL;
    assert_int_equal(uri_for(client, address, name, 1 << 30, &text), ERROR_NONE);
    return text;
}

static void assert_contains(const char *client, const char *address, const char *name, const char *part)
{
    char *text = text_for(client, address, name);
    assert_non_null(strstr(text, part));
    free(text);
}

static void bad_addresses_are_refused(void **state)
{
    (void)state;
    assert_bad_address("");
    assert_bad_address("unix:");
    assert_bad_address("/run/nbd.sock");
    assert_bad_address("tcp:");
    assert_bad_address("tcp:host");
    assert_bad_address("tcp::10809");
    assert_bad_address("tcp:host:");
    assert_bad_address("tcp:host:port");
    assert_bad_address("tcp:host:123456");
    assert_bad_address("tcp:[]:10809");
    assert_bad_address("http:host:80");
}

static void an_endless_path_is_refused(void **state)
{
    (void)state;
    char address[6000];
    memset(address, 'x', sizeof(address));
    memcpy(address, "unix:", 5);
    address[sizeof(address) - 1] = '\0';
    assert_bad_address(address);
}

static void names_are_percent_encoded(void **state)
{
    (void)state;
    assert_uri("unix:/p/nbd.sock", "a?b&c=d#e%", "nbd+unix:///a%3Fb%26c%3Dd%23e%25?socket=/p/nbd.sock");
    assert_uri("unix:/p q/\xc3\xa4&b.sock", "x", "nbd+unix:///x?socket=/p%20q/%C3%A4%26b.sock");
    assert_uri("unix:/p/s", "\xc3\xa4", "nbd+unix:///%C3%A4?socket=/p/s");
}

static void tcp_addresses_become_hosts_and_ports(void **state)
{
    (void)state;
    assert_uri("tcp:127.0.0.1:10809", "a", "nbd://127.0.0.1:10809/a");
    assert_uri("tcp:[::1]:10809", "a", "nbd://[::1]:10809/a");
    assert_uri("tcp:::1:10809", "a", "nbd://[::1]:10809/a");
}

static void a_snapshot_is_attached_read_only(void **state)
{
    (void)state;
    assert_contains("qemu", "unix:/s", "a@b", "read-only=on");
    assert_contains("libvirt", "unix:/s", "a@b", "<readonly/>");
    char *text = text_for("qemu", "unix:/s", "a");
    assert_null(strstr(text, "read-only"));
    free(text);
}

static void an_unknown_client_is_refused_with_the_nearest(void **state)
{
    (void)state;
    char *text;
    assert_int_equal(uri_for("qmeu", "unix:/s", "a", 1, &text), ERROR_INVALID);
    assert_non_null(strstr(error_sentence(ERROR_INVALID), "'qemu'"));
    assert_int_equal(uri_for("vmware", "unix:/s", "a", 1, &text), ERROR_INVALID);
    assert_non_null(strstr(error_sentence(ERROR_INVALID), "nbd-client"));
}

static void commas_do_not_end_an_option_of_qemu(void **state)
{
    (void)state;
    assert_contains("qemu", "unix:/p/a,b", "x,readonly=on", "server.path=/p/a,,b,export=x,,readonly=on,discard");
    assert_contains("qemu", "tcp:h:1", "x", "server.type=inet,server.host=h,server.port=1,export=x");
}

static void markup_in_a_name_stays_text_in_xml(void **state)
{
    (void)state;
    assert_contains("libvirt", "unix:/s", "<a & 'b'>\"", "name='&lt;a &amp; &apos;b&apos;&gt;&quot;'");
    assert_contains("libvirt", "tcp:h:1", "x", "<host name='h' port='1'/>");
}

static void a_quote_in_a_name_stays_inside_the_shells_quotes(void **state)
{
    (void)state;
    assert_contains("nbd-client", "unix:/s", "it's; reboot", "-name 'it'\\''s; reboot' ");
    assert_contains("nbd-client", "tcp:h:1", "x", "nbd-client h 1 /dev/nbd0");
    assert_contains("qemu", "unix:/s", "$(reboot)", "'driver=nbd,");
}

/* With several the kernel sends a request again after 30 s, while the first may still be under way. */
static void the_kernels_client_gets_one_connection(void **state)
{
    (void)state;
    char *text = text_for("nbd-client", "unix:/s", "a");
    assert_non_null(strstr(text, " -block-size 4096\n"));
    assert_null(strstr(text, "-connections"));
    assert_null(strstr(text, "-timeout"));
    free(text);
}

static void fio_gets_the_uri_and_the_size(void **state)
{
    (void)state;
    assert_contains("fio", "unix:/s", "a", "--uri='nbd+unix:///a?socket=/s' ");
    assert_contains("fio", "unix:/s", "a", "--size=1073741824 ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_addresses_are_refused),
        cmocka_unit_test(an_endless_path_is_refused),
        cmocka_unit_test(names_are_percent_encoded),
        cmocka_unit_test(tcp_addresses_become_hosts_and_ports),
        cmocka_unit_test(a_snapshot_is_attached_read_only),
        cmocka_unit_test(an_unknown_client_is_refused_with_the_nearest),
        cmocka_unit_test(commas_do_not_end_an_option_of_qemu),
        cmocka_unit_test(markup_in_a_name_stays_text_in_xml),
        cmocka_unit_test(a_quote_in_a_name_stays_inside_the_shells_quotes),
        cmocka_unit_test(the_kernels_client_gets_one_connection),
        cmocka_unit_test(fio_gets_the_uri_and_the_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
