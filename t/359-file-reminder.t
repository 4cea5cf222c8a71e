# Licensed under the Apache License, Version 2.0; see LICENSE.

# A certificate that is stapled from a file alone: one warning while there is
# time to put a newer response there; served to its end and no longer; back
# with a newer file.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;
use Staple::Answer;

use Time::HiRes qw(time);    # the usual one may be some milliseconds late

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);    # to make the files with
my $leaf = $ca->leaf;
my $httpd = Staple::Httpd->new(
    conf   => stapling('StapleResponseFile {dir}/r.der'),
    vhosts => [{ cert => $leaf }]);
my $file = $httpd->dir . '/r.der';

sub reminders { return scalar grep { /STP0207/ } $httpd->staple_lines('warn') }

put_file($file, answer($responder, $leaf, 'validity -200 86400'));
$httpd->start;
my $first = wait_for_staple($httpd, 'good');
is($first->{staple}, 'good', 'stapled');
is(reminders(), 0, 'no warning: half of its time lies ahead');

# Three quarters of this one's time are over.
my $second = answer($responder, $leaf, 'validity -100 30');
my $until = moment((times_of($second))[1]);
put_file($file, $second);
ok(wait_for(sub { (handshake($httpd)->{der} // '') ne $first->{der} }),
   'replaced by one that ends soon');
ok(wait_for(sub { reminders() }, 12), 'a warning');
is(handshake($httpd)->{staple}, 'good', '... while it is still stapled');
my $is_late;
ok(wait_for(sub {
       my $began = time;

       return 1 if handshake($httpd)->{staple} eq 'none';
       $is_late ||= $began > $until;
       return 0;
   }, 60), 'it ends');
ok(!$is_late, '... at its time');
cmp_ok(time, '>=', $until, '... not before');
is(reminders(), 1, '... and no more warnings');

put_file($file, answer($responder, $leaf, 'validity -60 86400'));
is(wait_for_staple($httpd, 'good')->{staple}, 'good',
   'a newer file: stapled again');

ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok(qr/STP0207/);

done_testing;
