# Licensed under the Apache License, Version 2.0; see LICENSE.

# Virtual hosts inherit the stapling directives of the main server, one by one,
# and may say otherwise.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my $elsewhere = Staple::Responder->new($ca);
my %leaf = map { $_ => $ca->leaf(name => "$_.test",
                                 ocsp => 'http://127.0.0.1:1/') }
    qw(inherits off own);

# The URI in the certificates leads nowhere: who is stapled took the URL from
# the configuration.
my $httpd = Staple::Httpd->new(
    conf   => stapling('SSLStaplingForceURL ' . $responder->url),
    vhosts => [{ cert => $leaf{inherits} },
               { cert => $leaf{off}, conf => 'SSLUseStapling off' },
               { cert => $leaf{own},
                 conf => 'SSLStaplingForceURL ' . $elsewhere->url }]);
$httpd->start;

for my $name (qw(inherits own)) {
    is(wait_for_staple($httpd, 'good', name => "$name.test")->{staple}, 'good',
       "$name: SSLUseStapling is inherited");
}
is(handshake($httpd, name => 'off.test')->{staple}, 'none',
   'off: a virtual host may switch it off');
is($responder->count($leaf{inherits}), 1, 'inherits: the main server\'s URL');
is($responder->count($leaf{own}), 0, 'own: not that one');
is($elsewhere->count($leaf{own}), 1, 'own: but its own');

ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok;

done_testing;
