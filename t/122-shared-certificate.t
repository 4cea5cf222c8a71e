# Licensed under the Apache License, Version 2.0; see LICENSE.

# A wildcard certificate that several virtual hosts share is asked about once
# and stapled by all of them, but for the host that switches stapling off.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my $wildcard = $ca->leaf(name => '*.shared.test', ocsp => $responder->url);

my $httpd = Staple::Httpd->new(
    conf   => stapling(),
    vhosts => [{ cert => $wildcard, name => 'off.shared.test',
                 conf => 'SSLUseStapling off' },
               map { { cert => $wildcard, name => "$_.shared.test" } }
                   qw(a b c)]);
$httpd->start;

for my $name (map { "$_.shared.test" } qw(a b c)) {
    is(wait_for_staple($httpd, 'good', name => $name)->{staple}, 'good',
       "$name: stapled");
}
is(handshake($httpd, name => 'off.shared.test')->{staple}, 'none',
   'off.shared.test: no staple, though the certificate has one');
is($responder->count, 1, 'the responder was asked once');

ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok;

done_testing;
