# Licensed under the Apache License, Version 2.0; see LICENSE.

# A lie told first is not stapled: each fault of the responder as the very first
# answer about a certificate gives no staple, and the handshake goes well.
# Healed, all of them are stapled.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my $number = 0;
my @faults = Staple::Responder->faults;
my %leaf = map { $_ => $ca->leaf(name => 'fault' . ++$number . '.test',
                                 ocsp => $responder->url) } @faults;
my $healthy = $ca->leaf(name => 'healthy.test', ocsp => $responder->url);

$responder->tell($_, $leaf{$_}) for @faults;
my $httpd = Staple::Httpd->new(
    conf   => stapling('SSLStaplingResponderTimeout 1',
                       'SSLStaplingErrorCacheTimeout 1'),
    vhosts => [map { { cert => $_ } } $healthy, @leaf{@faults}]);
$httpd->start;

is(wait_for_staple($httpd, 'good', name => 'healthy.test')->{staple}, 'good',
   'one certificate among liars is stapled');
for my $fault (@faults) {
    ok(wait_for(sub { $responder->count($leaf{$fault}) >= 5 }, 120),
       "$fault: was answered often enough");
    my $got = handshake($httpd, name => $leaf{$fault}{name});
    ok($got->{ok}, "$fault: the handshake goes well");
    is($got->{staple}, 'none', '... without a staple');
}

$responder->tell('clear');
for my $fault (@faults) {
    is(wait_for_staple($httpd, 'good', name => $leaf{$fault}{name},
                       seconds => 30)->{staple},
       'good', "$fault: stapled once it is healed");
}

ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok(qr/\[staple:warn\]/);

done_testing;
