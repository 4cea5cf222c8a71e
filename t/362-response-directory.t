# Licensed under the Apache License, Version 2.0; see LICENSE.

# StapleResponseDirectory: what is put there is stapled, for certificates of now
# and of the next restart; what is for nobody, or worse than what is held, costs
# nothing and is not spoken of; what is no response is warned about once.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;
use Staple::Answer;

use POSIX ();

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my @leaves = map { $ca->leaf(name => "$_.test", ocsp => $responder->url) }
    qw(one two);
my $bare = $ca->leaf(name => 'bare.test');    # names no responder
my $next = work_dir() . '/next';
mkdir $next or die "$next: $!\n";
chmod 0755, work_dir(), $next;

my $httpd = Staple::Httpd->new(
    ports => 2,
    conf => stapling("StapleResponseDirectory $next",
                     'SSLStaplingErrorCacheTimeout 1'),
    vhosts => [{ cert => $leaves[0] }, { cert => $bare }]);

sub put { my ($name, $bytes) = @_; return put_file("$next/$name", $bytes) }

sub is_stapled
{
    my ($der, $name) = @_;

    return wait_for(sub { (handshake($httpd, name => $name)->{der} // '')
                          eq $der });
}

sub warnings { return scalar(() = $httpd->error_log =~ /STP0271/g) }

my $old = answer($responder, $leaves[0], 'validity -7200 86400');
my $new = answer($responder, $leaves[0], 'validity -3600 86400');
my $newest = answer($responder, $leaves[0], 'validity -1800 86400');
my $ended = answer($responder, $leaves[0], 'validity -7200 -3600');
my $last = answer($responder, $leaves[0], 'validity -600 86400');
$responder->tell('badsig');
my $lie = answer($responder, $leaves[0], 'validity -900 86400');
$responder->good;
my $of_two = answer($responder, $leaves[1], 'validity -3600 86400');
$responder->tell('reset-counters');
$responder->tell('http 500');    # it has nothing for anybody

put('one.ocsp', $new);
put('two.ocsp', $of_two);
put('ended.ocsp', $ended);
$httpd->start;
ok(is_stapled($new, 'one.test'), 'what is there at the start is stapled');

put('one.ocsp', $newest);
ok(is_stapled($newest, 'one.test'), 'what is put there is, too');
put('older.ocsp', $old);
put('words.ocsp', "no response\n");
put('words.txt', "no response\n");
ok(wait_for(sub { warnings() }), 'what is no response is warned about');
is((handshake($httpd, name => 'one.test'))->{der}, $newest,
   'an older one replaces nothing');
put('lie.ocsp', $lie);
POSIX::mkfifo("$next/pipe.new", 0644) or die "mkfifo: $!\n";
rename "$next/pipe.new", "$next/pipe.ocsp" or die "pipe: $!\n";
ok($httpd->wait_for_log(qr/STP0271: .*pipe\.ocsp/), 'a pipe is warned about');
is((handshake($httpd, name => 'one.test'))->{der}, $newest,
   '... and a lie replaces nothing');
put('last.ocsp', $last);
ok(is_stapled($last, 'one.test'), '... and neither stops what comes next');
is(handshake($httpd, name => 'bare.test')->{staple}, 'none',
   'a certificate without a responder');
is(join("\n", grep { !/STP0271/ } $httpd->staple_lines(qw(warn error crit))),
   '', '... is not missing a response because of the directory');

$httpd->{vhosts}[0] = { cert => $leaves[1] };
$httpd->write_conf;
$httpd->graceful;
is(handshake($httpd, name => 'two.test')->{der}, $of_two,
   'the next certificate is stapled in its first handshake');
is($responder->count, 0, 'nobody was ever asked');

ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok(qr/STP0271: .*words\.ocsp is neither DER nor PEM/,
               qr/STP0271: .*pipe\.ocsp is no regular file/);

done_testing;
