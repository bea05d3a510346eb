#!/usr/bin/perl
# Buys things until its time is over, and says how that went: SHOP_URL, SECONDS_TO_RUN. Exit code 1 when an order failed.
use strict;
use warnings;
use HTTP::Tiny;
use JSON::PP;
use Time::HiRes qw(time);

my $url = $ENV{SHOP_URL} || 'http://edge:8080';
my $end = time + ($ENV{SECONDS_TO_RUN} || 30);
my $http = HTTP::Tiny->new(timeout => 10);
my ($bought, $failed, @took) = (0, 0);

sub call {
    my ($method, $path, $value) = @_;
    my %options = $value ? (content => encode_json($value), headers => {'Content-Type' => 'application/json'}) : ();
    my $r = $http->request($method, $url . $path, \%options);
    return $r->{success} ? decode_json($r->{content}) : die "$method $path: $r->{status} $r->{content}\n";
}

my $goods = call('GET', '/api/catalog');
while (time < $end) {
    my ($buyer, $begin) = ("load-$$-" . ($bought + $failed), time);
    eval {
        call('POST', "/api/cart/$buyer", {sku => $goods->[rand @$goods]{sku}, quantity => 1 + int rand 3});
        call('POST', '/api/orders', {buyer => $buyer});
        $bought++;
        push @took, time - $begin;
    } or do {
        $failed++;
        print STDERR $@;
    };
}
@took = sort { $a <=> $b } @took;
printf "load: %d orders, %d failed, median %.1f ms, p99 %.1f ms\n", $bought, $failed, 1000 * ($took[@took / 2] // 0), 1000 * ($took[@took * 0.99] // 0);
exit($failed ? 1 : 0);
