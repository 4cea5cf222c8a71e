# Licensed under the Apache License, Version 2.0; see LICENSE.

# Another module brings an OpenSSL of its own, libssl and libcrypto, and shows all
# of its functions to modules that are loaded later. Sites are stapled and
# restarts work, whichever is loaded first. What would mix the two libraries
# (StapleMustStaple strict, StapleChain) stays off then, and the log says why.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;

# The module; nothing, where there is no compiler or no static OpenSSL.
sub build_other
{
    my $apxs = $ENV{APXS} // tool('apxs') // tool('apxs2');
    my $cc = tool('cc') // tool('gcc');
    return if !$apxs || !$cc;

    my $source = write_file('other.c', <<'END');
#include <httpd.h>
#include <http_config.h>
AP_DECLARE_MODULE(other) = {
    STANDARD20_MODULE_STUFF, NULL, NULL, NULL, NULL, NULL, NULL, 0
};
END
    my ($file) = $source =~ s/\.c$/.so/r;
    my ($exit, $said) = run('sh', '-c', <<"END");
$cc -shared -fPIC -D_GNU_SOURCE -I\$($apxs -q INCLUDEDIR) \\
    \$(\$($apxs -q APR_CONFIG) --includes --cppflags) -o $file $source \\
    -Wl,--whole-archive \$($cc -print-file-name=libssl.a) \\
    \$($cc -print-file-name=libcrypto.a) -Wl,--no-whole-archive -ldl -lpthread \\
    \$(pkg-config --static --libs-only-l libcrypto | sed 's/-lssl//; s/-lcrypto//') \\
    -Wl,-z,defs
END
    return $exit ? undef : $file;
}

my $other = build_other();
plan skip_all => 'a module with OpenSSL in it cannot be built here' if !$other;

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my $leaf = $ca->leaf(name => 'one.test', ocsp => $responder->url);

# Whether a server with the other module in that place does what it should.
sub try_order
{
    my ($order) = @_;
    my $httpd = Staple::Httpd->new(
        conf   => stapling('StapleMustStaple strict', 'StapleChain on'),
        vhosts => [{ cert => $leaf }]);
    my $path = $httpd->dir . '/conf/httpd.conf';
    my $conf = read_file($path);
    my $load = "LoadModule other_module $other\n";

    $conf =~ s/^(?=LoadModule ssl_module)/$load/m if $order eq 'first';
    $conf =~ s/^(LoadModule staple_module .*\n)/$1$load/m if $order eq 'last';
    write_file($path, $conf);
    $httpd->start;
    is(wait_for_staple($httpd, 'good')->{staple}, 'good',
       "it is loaded $order: the site is stapled");
    $httpd->graceful;
    is(handshake($httpd)->{staple}, 'good', '... and after a restart');
    ok($httpd->stop, '... which stops in good order');
    return $httpd;
}

my $httpd = try_order('first');
like($httpd->error_log, qr/STP025$_: .*mod_ssl uses another lib(?:ssl|crypto)/,
     "... and STP025$_ says what is the matter") for 0, 1;
$httpd->log_ok(qr/STP025[01]/);

$httpd = try_order('last');
unlike($httpd->error_log, qr/STP0251|STP0250.*another/,
       '... and nothing is in the way');
$httpd->log_ok(qr/STP0250.*OpenSSL 3\.6 can/);

done_testing;
