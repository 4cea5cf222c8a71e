# Licensed under the Apache License, Version 2.0; see LICENSE.

# A certificate without an OCSP URI is normal: the server starts, says so in
# one INFO line, staples nothing for it, and other sites are unharmed. The same
# holds for a self-signed one.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my $with = $ca->leaf(name => 'with.test', ocsp => $responder->url);
my @without = map { $ca->leaf(name => "without$_.test") } 1 .. 3;
my $self_signed = $ca->leaf(name => 'self.test', self_signed => 1);

my $httpd = Staple::Httpd->new(
    conf   => stapling(),
    vhosts => [map { { cert => $_ } } @without, $self_signed, $with]);
$httpd->start;

is(wait_for_staple($httpd, 'good', name => 'with.test')->{staple}, 'good',
   'the site with a responder is stapled');
for my $leaf (@without, $self_signed) {
    my $got = handshake($httpd, name => $leaf->{name});
    ok($got->{ok}, "$leaf->{name}: is served");
    is($got->{staple}, 'none', "$leaf->{name}: without a staple");
}
is(scalar(grep { /without a staple/ } $httpd->staple_lines('info')), 1,
   'one INFO line for all of them');
ok($httpd->stop, 'httpd stops in good order');
# mod_ssl looks for an issuer in vain before it asks any module, and says so.
$httpd->log_ok(qr/AH0(?:2217|2604).*self[.]test/);

# Nothing to staple at all.
$httpd = Staple::Httpd->new(conf   => stapling(),
                            vhosts => [map { { cert => $_ } } @without]);
$httpd->start;
is(handshake($httpd, name => 'without1.test')->{staple}, 'none',
   'a server with no such certificate starts too');
ok($httpd->stop, 'and stops in good order');
$httpd->log_ok;

done_testing;
